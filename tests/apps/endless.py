"""A body that swallows whatever would end it."""

from __future__ import annotations

import contextlib

from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app("endless")


def ask(text: str) -> str:
    completion = OpenAI().chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


@app.task
@batched_llm_task
def stubborn(text: str) -> str:
    while True:
        # As a library does that tries again on everything.
        with contextlib.suppress(BaseException):
            return ask(text)


@app.task
@batched_llm_task
def orderly(text: str) -> str:
    return ask(text)
