"""One task for each place where the decorator can stand, all with the same body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery, Task, shared_task
from openai import OpenAI
from pydantic import BaseModel

import batchq
from batchq import batched_llm_task
from tests.apps.base import make_app

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task

app = make_app("placements")
second = make_app("second", task_default_queue="second")
#: An app that somebody forgot to install Batchq on.
uninstalled: Celery[Any] = Celery("uninstalled", set_as_current=False)
uninstalled.conf.update(
    broker_url=app.conf.broker_url,
    result_backend=app.conf.result_backend,
    broker_connection_retry_on_startup=True,
    task_default_queue="uninstalled",
)
client = OpenAI(max_retries=0)


def ask(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


# Under


@app.task
@batched_llm_task
def under_app(text: str) -> str:
    return ask(text)


@app.task(bind=True, autoretry_for=(KeyError,), max_retries=1, name="placements.under_app_bound")
@batched_llm_task
def under_app_bound(self: AnyTask, text: str) -> str:
    assert self.name == "placements.under_app_bound"
    return ask(text)


@app.task
@batched_llm_task(label="apart", strict=True)
def under_app_with_options(text: str) -> str:
    return ask(text)


@shared_task
@batched_llm_task
def under_shared(text: str) -> str:
    return ask(text)


@shared_task(bind=True, name="placements.under_shared_bound")
@batched_llm_task
def under_shared_bound(self: AnyTask, text: str) -> str:
    assert self.name == "placements.under_shared_bound"
    return ask(text)


# Above


@batched_llm_task
@app.task
def above_app(text: str) -> str:
    return ask(text)


@batched_llm_task
@app.task(bind=True, autoretry_for=(KeyError,), max_retries=1, name="placements.above_app_bound")
def above_app_bound(self: AnyTask, text: str) -> str:
    assert self.name == "placements.above_app_bound"
    return ask(text)


@batched_llm_task
@shared_task
def above_shared(text: str) -> str:
    return ask(text)


@batched_llm_task(label="apart")
@shared_task(bind=True, name="placements.above_shared_bound")
def above_shared_bound(self: AnyTask, text: str) -> str:
    assert self.name == "placements.above_shared_bound"
    return ask(text)


# In their place


class Counted(AnyTask):
    """A base class with a way of its own to call the body."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        return super().__call__(*args, **kwargs)


@batched_llm_task(app=app)
def with_app(text: str) -> str:
    return ask(text)


@batched_llm_task(app=app, bind=True, base=Counted, name="placements.with_app_bound")
def with_app_bound(self: Counted, text: str) -> str:
    assert self.name == "placements.with_app_bound"
    assert self.calls
    return ask(text)


@batched_llm_task(name="placements.with_name")
def with_name(text: str) -> str:
    return ask(text)


@batched_llm_task(bind=True, autoretry_for=(KeyError,))
def with_bind(self: AnyTask, text: str) -> str:
    assert self.name.endswith("with_bind")
    return ask(text)


@batched_llm_task
def alone(text: str) -> str:
    return ask(text)


# With what else app.task takes


@app.task(base=Counted, bind=True)
@batched_llm_task
def own_call(self: Counted, text: str) -> str:
    assert self.calls
    return ask(text)


class Ticket(BaseModel):
    text: str


class Reply(BaseModel):
    text: str


@app.task(pydantic=True)
@batched_llm_task
def pydantic_under(ticket: Ticket) -> Reply:
    return Reply(text=ask(ticket.text))


@batched_llm_task
@app.task(pydantic=True)
def pydantic_above(ticket: Ticket) -> Reply:
    return Reply(text=ask(ticket.text))


# Classes


@batched_llm_task
class DecoratedClass(AnyTask):
    name = "placements.decorated_class"

    def run(self, text: str) -> str:
        return ask(text)


class DecoratedRun(AnyTask):
    name = "placements.decorated_run"
    autoretry_for = (KeyError,)

    @batched_llm_task
    def run(self, text: str) -> str:
        return ask(text)


class Plain(AnyTask):
    name = "placements.decorated_instance"

    def run(self, text: str) -> str:
        return ask(text)


# A second app


@batched_llm_task
@second.task
def on_second(text: str) -> str:
    return ask(text)


@uninstalled.task
@batched_llm_task
def on_uninstalled(text: str) -> str:
    return ask(text)


# Calls in calls


@app.task
@batched_llm_task
def calls_a_task(text: str) -> str:
    answer: str = under_app(text)
    return answer


@app.task
def plain_calls_a_function(text: str) -> str:
    return alone(text)


@app.task
def plain_calls_a_task(text: str) -> str:
    answer: str = under_app(text)
    return answer


@app.task
@batched_llm_task
def partly_live(text: str) -> list[str]:
    with batchq.live():
        first = ask(text)
    return [first, ask(f"More: {text}")]


@app.task
@batched_llm_task
def mapped(text: str) -> str:
    return ask(text)


@app.task
@batched_llm_task
def starmapped(text: str) -> str:
    return ask(text)


@app.task
@batched_llm_task
def chunked(text: str) -> str:
    return ask(text)


@app.on_after_finalize.connect(weak=False)
def register_classes(**_: Any) -> None:
    """Registering a task instance finalizes its app in Celery as it is, so not while importing."""
    for task in (DecoratedClass(), DecoratedRun()):
        app.register_task(task)
    batched_llm_task(app.register_task(Plain()))
