"""An app with the timeouts of celeryconfig.py, whose links a test breaks."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from openai import OpenAI

import celeryconfig
from batchq import batched_llm_task
from tests.apps.base import make_app

_OURS = {
    name: getattr(celeryconfig, name)
    for name in dir(celeryconfig)
    if not name.startswith(("_", "batchq_", "os", "worker_send", "task_send"))
}


def ask(text: str) -> str:
    completion = OpenAI().chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


def made(url: str) -> Celery[Any]:
    """The app as a process has it that reaches Redis at `url`."""
    options = _OURS | {"broker_url": url, "result_backend": url}
    app = make_app("partition", **options, batchq_create_grace=3, batchq_poll_longest=2)
    app.task(name="ask", shared=False)(batched_llm_task(ask))
    return app


app = made(os.environ["REDIS_URL"])
