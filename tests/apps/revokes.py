"""Tasks that wait in a lane until somebody flushes it, for tests that revoke them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import redis
from celery import Task, signals
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
    StampingVisitor = object
else:
    from celery.canvas import StampingVisitor

    AnyTask = Task

app = make_app(
    "revokes",
    batchq_flush_after=3600,
    worker_send_task_events=True,
    **json.loads(os.environ.get("REVOKES_SETTINGS", "{}")),
)
client = OpenAI(max_retries=0)


def ask(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


def notes() -> redis.Redis:
    return redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


def note(key: str, value: Any) -> None:
    with notes() as client:
        client.rpush(f"revokes:{key}", json.dumps(value))


def wait_at(gate: str) -> None:
    """Stand still until the test opens the gate; it sees who stands there."""
    with notes() as client:
        client.rpush(f"at:{gate}", os.getpid())
        client.blpop([f"gate:{gate}"], timeout=25)


@signals.task_revoked.connect(weak=False)
def _on_task_revoked(request: Any, terminated: bool, **_: Any) -> None:  # noqa: FBT001 Celery's
    note(str(request.id), ["task_revoked", terminated])


def both(**options: Any) -> Callable[[Callable[..., Any]], None]:
    """Make two tasks of a function: one batched, one as it is."""

    def make(fun: Any) -> None:
        task: Any = app.task
        task(name=f"batched.{fun.__name__}", **options)(batched_llm_task(fun))
        task(name=f"live.{fun.__name__}", **options)(fun)

    return make


@both(bind=True)
def say(self: AnyTask, text: str) -> str:
    note(f"runs:{self.request.id}", self.request.retries)
    return ask(text)


@both()
def gate_then_ask(gate: str) -> str:
    wait_at(gate)
    return ask(gate)


@both()
def gate_then_return(gate: str) -> str:
    wait_at(gate)
    return gate


@both()
def ask_then_gate(gate: str) -> str:
    answer = ask(gate)
    wait_at(gate)
    return answer


@both(time_limit=1)
def ask_then_gate_in_a_second(gate: str) -> str:
    answer = ask(gate)
    wait_at(gate)
    return answer


@both(bind=True, max_retries=3)
def gate_then_retry(self: AnyTask, gate: str) -> str:
    wait_at(gate)
    if not self.request.retries:
        raise self.retry(countdown=2)
    return ask(gate)


@app.task
def join(parts: list[str]) -> str:
    return " / ".join(parts)


@app.task
def note_error(request: Any, error: BaseException, traceback: Any, key: str) -> None:
    note(key, [type(error).__name__, str(error)])


class Stamp(StampingVisitor):
    """Stamps every task of a canvas with a customer."""

    def __init__(self, customer: str) -> None:
        self.customer = customer

    def on_signature(self, sig: Any, **_: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"customer": self.customer, "stamped_headers": ["customer"]}
