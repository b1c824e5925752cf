"""Batched by default, live where somebody waits for the answer."""

from celery import Celery
from openai import OpenAI

import batchq
from batchq import batched_llm_task

app = Celery("examples.live")
app.config_from_object("celeryconfig")
batchq.install(app)

client = OpenAI()


@app.task
@batched_llm_task
def translate(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": f"Translate: {text}"}]
    )
    return completion.choices[0].message.content or ""


@app.task
@batched_llm_task
def check_and_translate(text: str) -> str:
    """One call of the body live, and journaled: a replay of the body does not pay for it again."""
    with batchq.live():
        flagged = client.moderations.create(input=text).results[0].flagged
    return "flagged" if flagged else translate(text)


if __name__ == "__main__":
    print("now, in this process:", translate("one"))
    live = translate.apply_async(args=("two",), headers={"batchq": "live"})
    print("now, in a worker:", live.get(timeout=60))
    print("later, in a batch:", translate.delay("three").get(timeout=600))
    print("one call of each:", check_and_translate.delay("four").get(timeout=600))
