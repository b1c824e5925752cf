"""Canvases whose results expire after seconds, as they do after a day for others."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from celery import Task, chord
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task

app = make_app(
    "keepalive",
    result_expires=5,
    result_chord_retry_interval=0.3,
    **json.loads(os.environ.get("KEEPALIVE_SETTINGS", "{}")),
)
client = OpenAI(max_retries=0)


@app.task
@batched_llm_task
def say(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    assert completion.choices[0].message.content
    return f"{text}, says the model"


@app.task(bind=True)
@batched_llm_task
def replaced(self: AnyTask, text: str) -> Any:
    return self.replace(say.s(text))


@app.task
def plain(text: str) -> str:
    return text.upper()


@app.task
def join(parts: Any) -> Any:
    return json.dumps(parts)


@app.task
def start() -> Any:
    """Send a chord from where the result backend is the worker's own."""
    return chord([say.s("apples"), plain.s("bears")], join.s()).apply_async().id
