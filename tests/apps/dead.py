"""Tasks that take their worker along."""

from __future__ import annotations

import os
import signal

import redis
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app(
    "dead",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
)


def ask(text: str) -> str | None:
    completion = OpenAI().chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content


def die_if_armed() -> None:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
        if keys.exists("armed"):
            keys.incr("killed")
            os.kill(os.getpid(), signal.SIGKILL)


@app.task
@batched_llm_task
def dies_at_first(text: str) -> str | None:
    die_if_armed()
    return ask(text)


@app.task
@batched_llm_task
def dies_with_the_answer(text: str) -> str | None:
    answer = ask(text)
    die_if_armed()
    return answer


@app.task
@batched_llm_task
def is_harmless(text: str) -> str | None:
    return ask(text)
