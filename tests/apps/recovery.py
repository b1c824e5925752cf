"""Tasks for the tests that measure: batchq's settings are its defaults, Celery's are ours."""

from __future__ import annotations

import os
from typing import Any

import redis
from celery import Celery
from openai import OpenAI

import batchq
from batchq import batched_llm_task
from tests.harness import wait_until


def make(url: str) -> Celery[Any]:
    app: Celery[Any] = Celery("recovery", set_as_current=False)
    app.config_from_object("celeryconfig")
    app.conf.update(broker_url=url, result_backend=url)
    app.task(name="say")(batched_llm_task(say))
    app.task(name="hold")(batched_llm_task(hold))
    app.task(name="hold_acked_early", acks_late=False)(batched_llm_task(hold_acked_early))
    return batchq.install(app)


def _ask(text: str) -> str | None:
    completion = OpenAI().chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content


def say(text: str) -> str | None:
    return _ask(text)


def hold(text: str) -> str | None:
    """Ask; then, with the answer, wait as long as the key ``hold`` is there."""
    answer = _ask(text)
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
        keys.incr(f"held:{text}")
        wait_until(lambda: not keys.exists("hold"), description="it may go on", timeout=60)
    return answer


def hold_acked_early(text: str) -> str | None:
    return hold(text)


app = make(os.environ["REDIS_URL"])
