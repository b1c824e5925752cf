"""Tasks that fail, and are tried again."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import redis
from celery import Task
from celery.exceptions import Reject
from kombu.exceptions import OperationalError
from openai import BadRequestError, OpenAI
from pydantic import BaseModel

from batchq import batched_llm_task
from tests.apps.base import make_app

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task

app = make_app("retries", task_default_retry_delay=0)
client = OpenAI(max_retries=0)


class DatabaseDown(Exception):
    """Says nothing about the answer."""


class Unusable(Exception):
    """Says that the answer is bad, where the task lists it."""


class Label(BaseModel):
    name: str


def ask(text: str, **options: Any) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}], **options
    )
    return completion.choices[0].message.content or ""


def fail(task: AnyTask, error: Exception, times: int = 1) -> None:
    """Raise the first few times that this line of a task is reached."""
    if count(task, type(error).__name__) <= times:
        raise error


def count(task: AnyTask, name: str) -> int:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as notes:
        return cast("int", notes.incr(f"notes:{name}:{task.request.id}"))


def again(**options: Any) -> Callable[[Any], AnyTask]:
    """A task that is tried again at once, up to three times, whatever it raises."""
    make: Any = app.task
    once_more: dict[str, Any] = {"countdown": 0, "max_retries": 3}
    defaults = {"bind": True, "autoretry_for": (Exception,), "retry_kwargs": once_more}
    return cast("Callable[[Any], AnyTask]", make(**defaults | options))


@again()
@batched_llm_task
def database_down(self: AnyTask, text: str) -> str:
    answer = ask(text)
    fail(self, DatabaseDown("no connection"))
    return answer


@batched_llm_task
@again()
def database_down_above(self: AnyTask, text: str) -> str:
    answer = ask(text)
    fail(self, DatabaseDown("no connection"))
    return answer


@again()
@batched_llm_task
def database_down_before(self: AnyTask, text: str) -> str:
    fail(self, DatabaseDown("no connection"))
    return ask(text)


@again()
@batched_llm_task
def bad_answer(self: AnyTask, text: str) -> str:
    answer = ask(text)
    fail(self, ValueError("not what was asked for"))
    return answer


@batched_llm_task
@again()
def bad_answer_above(self: AnyTask, text: str) -> str:
    answer = ask(text)
    fail(self, ValueError("not what was asked for"))
    return answer


@again()
@batched_llm_task(ask_again_on=Unusable)
def own_list(self: AnyTask, text: str) -> str:
    answer = ask(text)
    fail(self, ValueError("fine with this task"))
    fail(self, Unusable("not with this one"))
    return answer


@again()
@batched_llm_task(ask_again_on=())
def never_again(self: AnyTask, text: str) -> str:
    answer = ask(text)
    fail(self, ValueError("fine with this task"))
    return answer


@again(autoretry_for=(BadRequestError,))
@batched_llm_task
def error_answer(self: AnyTask, text: str, **options: Any) -> str:
    return ask(text, **options)


@again(autoretry_for=(BadRequestError,))
def error_answer_live(self: AnyTask, text: str, **options: Any) -> str:
    return ask(text, **options)


@app.task(bind=True)
@batched_llm_task
def retries_itself(self: AnyTask, text: str, kind: str) -> str:
    answer = ask(text)
    if count(self, "tries") == 1:
        errors = {"bad": ValueError("bad"), "down": DatabaseDown("down"), "": None}
        raise self.retry(exc=errors[kind], countdown=0)
    return answer


@app.task(bind=True)
@batched_llm_task
def loses_its_retry(self: AnyTask, text: str) -> str:
    """As where the broker is away at the moment of a retry: ``self.retry`` then raises this."""
    answer = ask(text)
    if count(self, "tries") == 1:
        raise Reject(OperationalError("Connection refused."), requeue=False)
    return answer


@app.task(bind=True)
@batched_llm_task
def asks_otherwise(self: AnyTask, text: str) -> str:
    answer = ask(text)
    if self.request.retries == 0:
        raise self.retry(args=("Something else.",), exc=DatabaseDown("down"), countdown=0)
    return answer


@again()
@batched_llm_task
def second_is_bad(self: AnyTask, text: str) -> list[str]:
    first = ask(text)
    second = ask(f"{text} {first}")
    fail(self, ValueError("the second is not what was asked for"))
    return [first, second]


@again()
@batched_llm_task
def second_does_not_parse(self: AnyTask, text: str) -> str:
    first = ask(text)
    question = f"{text} {first}"
    if self.request.retries == 0:
        return Label.model_validate_json(ask(question)).name
    completion = client.chat.completions.parse(
        model="gpt-5.6-luna",
        messages=[{"role": "user", "content": question}],
        response_format=Label,
    )
    label = completion.choices[0].message.parsed
    assert label is not None
    return label.name


@again()
@batched_llm_task
def storm(self: AnyTask, text: str) -> str:
    answer = ask(text)
    fail(self, DatabaseDown("no connection"), times=2)
    return answer


@app.task(bind=True, max_retries=3)
@batched_llm_task
def lingers(self: AnyTask, text: str) -> str:
    """Its next run is there before this one has ended."""
    answer = ask(text)
    if self.request.retries < 2:
        retry = self.retry(countdown=0, throw=False)
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as notes:
            notes.blpop([f"notes:go:{self.request.id}"], timeout=5)
        raise retry
    return answer
