"""An app whose lanes are flushed by the clock alone."""

from __future__ import annotations

from datetime import timedelta

from celery.schedules import schedule
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app(
    "standin",
    batchq_flush_after=None,
    batchq_flush_at=schedule(timedelta(seconds=1)),
)


@app.task
@batched_llm_task
def ask(text: str) -> str | None:
    completion = OpenAI().chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content
