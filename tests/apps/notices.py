"""An app that listens to Batchq's signals, and posts notices where BATCHQ_TEST_URLS says."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

import redis
from celery import signals
from openai import OpenAI

from batchq import batched_llm_task
from batchq.events import Event, to_json
from batchq.logs import JsonFormatter
from batchq.signals import SIGNALS
from tests.apps.base import make_app

notify: dict[str, Any] = (
    {"batchq_notify": "env:BATCHQ_TEST_URLS"} if "BATCHQ_TEST_URLS" in os.environ else {}
)
app = make_app(
    "notices",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    **notify,
)


def note(event: Event, **_: Any) -> None:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
        keys.rpush("heard", to_json(event))


for each in SIGNALS.values():
    each.connect(note, sender=app)

if "BATCHQ_TEST_JSON_LOG" in os.environ:

    @signals.after_setup_logger.connect
    def write_json(**_: Any) -> None:
        handler = logging.FileHandler(os.environ["BATCHQ_TEST_JSON_LOG"])
        handler.setFormatter(JsonFormatter())
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel(logging.DEBUG)


def ask_openai(text: str) -> str | None:
    completion = OpenAI().chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content


@app.task
@batched_llm_task
def ask(text: str) -> str | None:
    return ask_openai(text)


@app.task
@batched_llm_task
def dies(text: str) -> str | None:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
        if keys.exists("armed"):
            os.kill(os.getpid(), signal.SIGKILL)
    return ask_openai(text)
