"""A chord of batched tasks: its body runs when the last answer is back, hours later if need be."""

from celery import Celery, chord
from openai import OpenAI

import batchq
from batchq import batched_llm_task

app = Celery("examples.chord")
app.config_from_object("celeryconfig")
# Celery forgets results after a day, and a chord that waits longer than that hangs without a word.
app.conf.result_expires = 3 * 24 * 3600
batchq.install(app)

client = OpenAI()


@app.task
@batched_llm_task
def summarise(chapter: str) -> str:
    return ask(f"Summarise in one sentence: {chapter}")


@app.task
@batched_llm_task
def blurb(summaries: list[str]) -> str:
    """The body of the chord asks too: in a batch of its own, after all others."""
    return ask("Write a blurb from these summaries: " + " ".join(summaries))


def ask(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


if __name__ == "__main__":
    chapters = [f"The whale is seen in sea {number}." for number in range(1, 11)]
    print(chord([summarise.s(chapter) for chapter in chapters])(blurb.s()).get(timeout=600))
