"""The same tasks twice: batched, and as they are without Batchq."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import redis
from celery import Celery, Task, chord, group, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from kombu import Exchange, Queue
from openai import OpenAI

import batchq
from batchq import batched_llm_task
from tests.apps.base import FAST

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task

client = OpenAI(max_retries=0)


def make(settings: Mapping[str, Any]) -> Celery[Any]:
    """An app with every task of this module."""
    app: Celery[Any] = Celery("fidelity", set_as_current=False)
    app.conf.update(
        FAST,
        accept_content=["json", "pickle", "msgpack", "yaml"],
        result_accept_content=["json", "pickle"],
        broker_transport_options={"queue_order_strategy": "priority"},
        event_queue_ttl=60,
        result_chord_retry_interval=0.3,
        task_send_sent_event=True,
        worker_send_task_events=True,
        worker_redirect_stdouts=False,
    )
    app.conf.update(settings)
    usual = app.conf.task_default_exchange or "celery"
    app.conf.task_queues = [
        Queue("celery", Exchange(usual, type=app.conf.task_default_exchange_type or "direct"),
              routing_key=app.conf.task_default_routing_key or "celery"),
        Queue("special", Exchange("special"), routing_key="special"),
        Queue("topical", Exchange("topics", type="topic"), routing_key="question.#"),
    ]  # fmt: skip
    for register in _TASKS:
        register(app)
    return batchq.install(app)


_TASKS: list[Callable[[Celery[Any]], None]] = []


def plain(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a task of a function."""

    def decorate(fun: Any) -> Any:
        _TASKS.append(lambda app: _task(app, f"plain.{fun.__name__}", fun, options))
        return fun

    return decorate


def both(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make two tasks of a function: one batched, one as it is."""

    def decorate(fun: Any) -> Any:
        _TASKS.append(lambda app: _task(app, f"live.{fun.__name__}", fun, options))
        batched = batched_llm_task(fun)
        _TASKS.append(lambda app: _task(app, f"batched.{fun.__name__}", batched, options))
        return fun

    return decorate


def _task(app: Any, name: str, fun: Any, options: Mapping[str, Any]) -> None:
    app.task(name=name, shared=False, **{"base": Hooked, **options})(fun)


class Kind:
    """The tasks of one kind, ``batched`` or ``live``; those without a model are the same in both.

    Of a task: the tasks of its own kind.
    """

    def __init__(self, app: Any, name: str) -> None:
        self.app = app
        self.name = name

    def __getattr__(self, name: str) -> Any:
        return self.app.tasks.get(f"{self.name}.{name}") or self.app.tasks[f"plain.{name}"]


def kind_of(task: AnyTask) -> Kind:
    return Kind(task.app, task.name.partition(".")[0])


def ask(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


# What is seen of a task


def note(key: str, *value: Any) -> None:
    """Write down what happened, for the test to read."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as notes:
        notes.rpush(f"notes:{key}", json.dumps(value))


def count(key: str) -> int:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as notes:
        return int(notes.incr(f"count:{key}"))


class Hooked(AnyTask):
    """Notes every call of its hooks, under its task id. ``before_start`` comes with every run."""

    abstract = True

    def on_success(self, retval: Any, task_id: str, *_: Any) -> None:
        note(task_id, "on_success", repr(retval))

    def on_failure(self, exc: Any, task_id: str, *_: Any) -> None:
        note(task_id, "on_failure", repr(exc))

    def on_retry(self, exc: Any, task_id: str, *_: Any) -> None:
        note(task_id, "on_retry", repr(exc))

    def after_return(self, status: str, _: Any, task_id: str, *__: Any) -> None:
        note(task_id, "after_return", status)


def _is_ours(task: Any) -> bool:
    return str(getattr(task, "name", task)).startswith(("batched.", "live.", "plain."))


@signals.after_task_publish.connect(weak=False)
def _on_publish(sender: Any = None, headers: Any = None, **_: Any) -> None:
    if _is_ours(sender):
        note(headers["id"], "after_task_publish")


@signals.task_success.connect(weak=False)
def _on_success(sender: Any = None, **_: Any) -> None:
    if _is_ours(sender):
        note(sender.request.id, "task_success")


@signals.task_failure.connect(weak=False)
def _on_failure(sender: Any = None, task_id: str = "", exception: Any = None, **_: Any) -> None:
    if _is_ours(sender):
        note(task_id, "task_failure", type(exception).__name__)


@signals.task_retry.connect(weak=False)
def _on_retry(sender: Any = None, request: Any = None, **_: Any) -> None:
    if _is_ours(sender):
        note(request.id, "task_retry")


@signals.task_revoked.connect(weak=False)
def _on_revoked(sender: Any = None, request: Any = None, **more: Any) -> None:
    if _is_ours(sender):
        note(request.id, "task_revoked", bool(more["terminated"]), bool(more["expired"]))


@signals.task_postrun.connect(weak=False)
def _on_postrun(sender: Any = None, task_id: str = "", state: str | None = None, **_: Any) -> None:
    # IGNORED is the end of a run, and not of a task. A run that is cut off has no state: billiard
    # sends SIGTERM and a tenth of a second later SIGKILL, and whether it gets here is luck.
    if _is_ours(sender) and state not in {None, "IGNORED"}:
        note(task_id, "task_postrun", state)


# Plain tasks


@plain()
def upper(text: str) -> str:
    return text.upper()


@plain()
def join(parts: list[str]) -> str:
    return " / ".join(parts)


@plain()
def echo(value: Any) -> Any:
    return value


@plain()
def fail(text: str) -> str:
    raise RuntimeError(text)


@plain(bind=True)
def note_result(self: AnyTask, result: Any, key: str) -> None:
    note(key, result, self.request.parent_id, self.request.root_id)


@plain()
def note_failed_id(task_id: str) -> None:
    """An errback of the old style."""
    note(f"failed:{task_id}", "failed")


@plain()
def note_error(request: Any, error: BaseException, traceback: Any, key: str) -> None:
    """An errback of the new style."""
    note(key, request.id, request.parent_id, type(error).__name__, str(error))


# Tasks that ask


@both()
def say(text: str) -> str:
    return ask(text)


@both()
def refine(text: str) -> str:
    return ask(f"Improve: {ask(text)}")


@both()
def summarise(parts: list[str]) -> str:
    return ask(" / ".join(parts))


@both()
def fail_after(text: str) -> str:
    raise RuntimeError(ask(text))


@both(throws=(KeyError,))
def fail_as_expected(text: str) -> str:
    raise KeyError(ask(text))


@both()
def ignore_after(text: str, key: str) -> str:
    note(key, ask(text))
    raise Ignore


@both(acks_late=True)
def reject_after(text: str, key: str) -> str:
    note(key, ask(text))
    raise Reject("not for me", requeue=False)


@both(bind=True)
def progress(self: AnyTask, text: str) -> list[Any]:
    answer = ask(text)
    self.update_state(state="HALFWAY", meta={"answer": answer})
    seen = self.AsyncResult(str(self.request.id))
    return [seen.state, seen.info]


@both(bind=True, track_started=True)
def started(self: AnyTask, text: str) -> list[Any]:
    return [ask(text), self.AsyncResult(str(self.request.id)).state]


@both(track_started=True)
def fails_after_it_started(text: str) -> str:
    raise RuntimeError(ask(text))


@both(bind=True)
def replace(self: AnyTask, text: str) -> Any:
    return self.replace(kind_of(self).say.s(ask(text)))


@both(bind=True)
def replace_by_chord(self: AnyTask, text: str) -> Any:
    kind, first = kind_of(self), ask(text)
    return self.replace(chord(group(kind.say.s(first), kind.upper.s(first)), kind.summarise.s()))


@both(bind=True)
def replace_by_chain(self: AnyTask, text: str) -> Any:
    kind, first = kind_of(self), ask(text)
    return self.replace(kind.upper.s(first) | kind.say.s())


@both(bind=True)
def spawn(self: AnyTask, text: str, key: str) -> str:
    answer = ask(text)
    kind_of(self).note_result.delay(answer, key)
    return answer


@both()
def mutate(items: list[str], *, last: dict[str, str]) -> list[str]:
    return [ask(items.pop()), ask(items.pop()), ask(last.pop("text")), *items, *last]


@both(bind=True)
def describe(self: AnyTask, text: str) -> dict[str, Any]:
    """What a task knows about itself."""
    answer = ask(text)
    request: Any = self.request
    delivery = request.delivery_info or {}
    return {
        "answer": answer,
        "exchange": delivery.get("exchange"),
        "routing_key": delivery.get("routing_key"),
        "priority": delivery.get("priority"),
        "redelivered": delivery.get("redelivered"),
        "args": request.args,
        "argsrepr": request.argsrepr,
        "kwargsrepr": request.kwargsrepr,
        "headers": request.headers,
        "stamped_headers": request.stamped_headers,
        "stamps": request.stamps,
        "id": request.id,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "group": request.group and "a group",
        "group_index": request.group_index,
        "correlation_id": request.correlation_id,
        "reply_to": request.reply_to,
        "retries": request.retries,
        "timelimit": request.timelimit,
        "shadow": request.shadow,
        "origin": request.origin,
        "lang": (request.properties or {}).get("lang"),
        "ignore_result": request.ignore_result,
    }


@both()
def types_of(*args: Any) -> list[str]:
    """What a serializer made of the arguments."""
    return [ask(repr(arg)) for arg in args] + [f"{type(arg).__name__} {arg!r}" for arg in args]


@both()
def lengths(texts: set[str]) -> list[int]:
    assert isinstance(texts, set)
    return [len(ask(text)) for text in sorted(texts)]


@both(ignore_result=True)
def silent(text: str, key: str) -> str:
    answer = ask(text)
    note(key, answer)
    return answer


@both()
def noted(text: str, key: str) -> str:
    answer = ask(text)
    note(key, answer)
    return answer


# Tasks that are tried again


class DatabaseDown(Exception):
    """Says nothing about the answer."""


@both(
    bind=True,
    autoretry_for=(DatabaseDown,),
    retry_backoff=1,
    retry_jitter=False,
    max_retries=3,
)
def backs_off(self: AnyTask, text: str) -> list[Any]:
    answer = ask(text)
    if self.request.retries < 2:
        raise DatabaseDown(f"attempt {self.request.retries}")
    return [answer, self.request.retries]


@both(autoretry_for=(DatabaseDown,), max_retries=2, default_retry_delay=0)
def never_works(text: str) -> str:
    raise DatabaseDown(ask(text))


@both(bind=True, max_retries=3, default_retry_delay=0)
def tries_again(self: AnyTask, text: str, *, countdown: float | None = None) -> list[Any]:
    answer = ask(text)
    if self.request.retries < 2:
        raise self.retry(exc=DatabaseDown("down"), countdown=countdown)
    return [answer, self.request.retries]


@both(bind=True, max_retries=1, default_retry_delay=0)
def tries_in_vain(self: AnyTask, text: str) -> str:
    ask(text)
    raise self.retry()


@both(bind=True, default_retry_delay=0)
def tries_otherwise(self: AnyTask, text: str) -> str:
    answer = ask(text)
    if self.request.retries == 0:
        raise self.retry(args=(f"{text} Again.",))
    return answer


# Tasks that take long after their answer


def _work(seconds: float) -> str:
    """Runs for some time, and can be interrupted all along."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.02)
    return "not interrupted"


# Long enough for a live call on a busy machine: it is to be met in the work after it.
@both(soft_time_limit=5)
def too_long(text: str) -> str:
    return ask(text) + _work(20)


@both(soft_time_limit=5)
def ends_in_time(text: str) -> str:
    answer = ask(text)
    try:
        return _work(20)
    except SoftTimeLimitExceeded:
        return f"{answer} in time"


@both(time_limit=1)
def killed(text: str) -> str:
    return ask(text) + _work(8)


# Tasks that lose their process


def _die_once(task: AnyTask) -> None:
    if count(f"deaths:{task.request.id}") == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@both(bind=True, acks_late=True, reject_on_worker_lost=True)
def dies_late(self: AnyTask, text: str) -> str:
    answer = ask(text)
    _die_once(self)
    return answer


@both(bind=True, acks_late=False)
def dies_early(self: AnyTask, text: str) -> str:
    answer = ask(text)
    _die_once(self)
    return answer


# Limits that are met while a run parks


class _AtPark(logging.Filter):
    """Something happens when a run has written its questions to the journal, and goes to end."""

    def filter(self, record: logging.LogRecord) -> bool:
        task = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        if task == "batched.softly" and "asked" in record.msg:
            os.kill(os.getpid(), signal.SIGUSR1)
        if task == "batched.hardly" and "asked" in record.msg:
            _work(8)
        return True


logging.getLogger("batchq.capture").addFilter(_AtPark())


@both(soft_time_limit=60)
def softly(text: str) -> str:
    return ask(text)


@both(time_limit=1)
def hardly(text: str) -> str:
    return ask(text)
