"""The same tasks twice: batched, and as they are without Batchq."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import redis
from celery import Task, chord, group, signals
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task

app = make_app(
    "canvas",
    accept_content=["json", "pickle"],
    result_accept_content=["json", "pickle"],
    broker_transport_options={"queue_order_strategy": "priority"},
    worker_send_task_events=True,
)
client = OpenAI(max_retries=0)


def ask(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


def note(key: str, value: Any) -> None:
    """Write down what happened, for the test to read."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as notes:
        notes.rpush(f"notes:{key}", json.dumps(value))


# Plain tasks


@app.task
def upper(text: str) -> str:
    return text.upper()


@app.task
def join(parts: list[str]) -> str:
    return " / ".join(parts)


@app.task
def fail(text: str) -> str:
    raise RuntimeError(text)


@app.task
def note_result(result: Any, key: str) -> None:
    note(key, result)


@app.task
def note_failed_id(task_id: str) -> None:
    """An errback of the old style."""
    note(task_id, "failed")


@app.task
def note_error(request: Any, error: BaseException, traceback: Any, key: str) -> None:
    """An errback of the new style."""
    note(key, [request.id, type(error).__name__, str(error)])


# Tasks that ask, in two kinds


class Hooked(AnyTask):
    """Notes every call of its hooks, under its task id."""

    abstract = True

    def on_success(self, retval: Any, task_id: str, *_: Any) -> None:
        note(task_id, ["on_success", retval])

    def on_failure(self, exc: Any, task_id: str, *_: Any) -> None:
        note(task_id, ["on_failure", str(exc)])

    def after_return(self, status: str, _: Any, task_id: str, *__: Any) -> None:
        note(task_id, ["after_return", status])


@signals.task_success.connect(weak=False)
def _on_task_success(sender: Any = None, **_: Any) -> None:
    if isinstance(sender, Hooked):
        note(str(sender.request.id), ["task_success"])


@signals.task_failure.connect(weak=False)
def _on_task_failure(sender: Any = None, task_id: str = "", **_: Any) -> None:
    if isinstance(sender, Hooked):
        note(task_id, ["task_failure"])


class Kind:
    """The tasks of one kind: of the one named, or of the same as a task."""

    def __init__(self, kind: str | AnyTask) -> None:
        self._prefix = kind if isinstance(kind, str) else kind.name.partition(".")[0]

    def __getattr__(self, name: str) -> Any:
        return app.tasks[f"{self._prefix}.{name}"]


batched, live = Kind("batched"), Kind("live")


def both(**options: Any) -> Callable[[Callable[..., Any]], None]:
    """Make two tasks of a function: one batched, one as it is."""

    def make(fun: Any) -> None:
        task: Any = app.task
        task(name=f"batched.{fun.__name__}", **options)(batched_llm_task(fun))
        task(name=f"live.{fun.__name__}", **options)(fun)

    return make


@both()
def say(text: str) -> str:
    return ask(text)


@both()
def refine(text: str) -> str:
    return ask(f"Improve: {ask(text)}")


@both()
def summarise(parts: list[str]) -> str:
    return ask(" / ".join(parts))


@both(bind=True)
def replace(self: AnyTask, text: str) -> Any:
    return self.replace(Kind(self).say.s(ask(text)))


@both(bind=True)
def replace_by_chord(self: AnyTask, text: str) -> Any:
    kind, first = Kind(self), ask(text)
    return self.replace(chord(group(kind.say.s(first), upper.s(first)), kind.summarise.s()))


@both()
def mutate(items: list[str], *, last: dict[str, str]) -> list[str]:
    return [ask(items.pop()), ask(items.pop()), ask(last.pop("text")), *items, *last]


@both(bind=True)
def describe(self: AnyTask, text: str) -> dict[str, Any]:
    answer = ask(text)
    request: Any = self.request
    delivery = request.delivery_info or {}
    return {
        "answer": answer,
        "queue": delivery.get("routing_key"),
        "priority": delivery.get("priority"),
        "argsrepr": request.argsrepr,
        "headers": request.headers,
        "is own root": request.root_id == request.id,
        "parent_id": request.parent_id,
        "retries": request.retries,
        "timelimit": request.timelimit,
        "shadow": request.shadow,
        "stamps": request.stamps,
        "reply_to": request.reply_to,
    }


@both(ignore_result=True)
def silent(text: str, key: str) -> str:
    answer = ask(text)
    note(key, answer)
    return answer


@both(base=Hooked)
def hooked(text: str) -> str:
    return ask(text)


@both(base=Hooked)
def fail_after(text: str) -> str:
    raise RuntimeError(ask(text))


@both()
def lengths(texts: set[str]) -> list[int]:
    assert isinstance(texts, set)
    return [len(ask(text)) for text in sorted(texts)]
