"""The tasks that benchmarks run."""

from __future__ import annotations

import functools
import os
from typing import Any

from celery import Celery, signals
from celery.exceptions import Ignore
from openai import OpenAI
from redis.connection import Connection

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


@signals.worker_process_init.connect
def count_trips(**_: object) -> None:
    """Let a process of the pool add a byte to a file each time that it sends to Redis."""
    if (path := os.environ.get("BENCHMARK_TRIPS")) is None:
        return
    count = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    connection: Any = Connection
    send = connection.send_packed_command

    @functools.wraps(send)
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        os.write(count, b".")
        return send(self, *args, **kwargs)

    connection.send_packed_command = counted


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
