"""The tasks that benchmarks run."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.exceptions import Ignore
from openai import OpenAI

import batchq
from batchq import batched_llm_task

REDIS_URL = os.environ["REDIS_URL"]
MODEL = "gpt-5.6-luna"


def made(prefix: str) -> Celery[Any]:
    """An app whose journal stands beside others."""
    app: Celery[Any] = Celery("benchmarks", set_as_current=False)
    app.conf.update(
        broker_url=REDIS_URL,
        # A database of its own, so that results can be counted.
        result_backend=REDIS_URL.removesuffix("/0") + "/1",
        batchq_redis_url=REDIS_URL,
        batchq_key_prefix=prefix,
        batchq_flush_after=0,
        batchq_large_bodies=os.environ.get("BENCHMARK_LARGE_BODIES"),
    )
    return batchq.install(app)


app = made(os.environ.get("BENCHMARK_PREFIX", "batchq"))
client = OpenAI(max_retries=0)


@app.task
def nothing(text: str) -> str:
    return text


@app.task
def ignored(text: str) -> str:  # noqa: ARG001 as many bytes as the others get
    """What Celery asks for ending an execution without a result: the floor of a capture."""
    raise Ignore


@app.task
@batched_llm_task
def ask(text: str) -> str:
    completion = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""
