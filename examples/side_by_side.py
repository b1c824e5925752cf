"""Calls that do not depend on each other: written side by side, they share one round."""

import asyncio

from celery import Celery
from openai import AsyncOpenAI, OpenAI

import batchq
from batchq import batched_llm_task

app = Celery("examples.side_by_side")
app.config_from_object("celeryconfig")
batchq.install(app)

client = OpenAI()
async_client = AsyncOpenAI()
QUESTIONS = ("Who is it about?", "Where is it?", "When is it?")


def ask(text: str, question: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": f"{question} {text}"}]
    )
    return completion.choices[0].message.content or ""


@app.task
@batched_llm_task
def with_gather(text: str) -> list[str]:
    """One batch for all three. In a plain loop each would wait for a batch of its own."""
    return batchq.gather(*(lambda q=question: ask(text, q) for question in QUESTIONS))


@app.task
@batched_llm_task
def with_asyncio(text: str) -> list[str]:
    async def ask_async(question: str) -> str:
        completion = await async_client.chat.completions.create(
            model="gpt-5.6-luna", messages=[{"role": "user", "content": f"{question} {text}"}]
        )
        return completion.choices[0].message.content or ""

    async def ask_all() -> list[str]:
        return await asyncio.gather(*map(ask_async, QUESTIONS))

    return asyncio.run(ask_all())


if __name__ == "__main__":
    for result in (with_gather.delay("Ahab sails."), with_asyncio.delay("Ahab sails.")):
        print(result.get(timeout=600))
