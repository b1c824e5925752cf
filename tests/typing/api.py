"""What type checkers make of the decorator. Read by mypy and pyright (strict), never run.

An expected error stands as an ignore: both tools complain about one that is not needed.
celery-types gives every task of ``@app.task`` the type ``Task[Any, Any]``, decorated or not;
``@shared_task`` keeps the signature, and so does Batchq in their place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, assert_type

from celery import Celery, Task, shared_task
from celery.result import AsyncResult

import batchq
from batchq import BatchedTask, Status, batched_llm_task

P = ParamSpec("P")
R = TypeVar("R")

app = Celery("typed")
assert_type(batchq.install(app), "Celery[Task[Any, Any]]")
assert_type(batchq.status(app), Status)


class Label:
    name: str


def classify(text: str, *, size: int = 1) -> Label:
    raise NotImplementedError


# In place of Celery's decorators


@batched_llm_task
def alone(text: str, *, size: int = 1) -> Label:
    return classify(text, size=size)


assert_type(alone("text", size=2), Label)
assert_type(alone.delay("text", size=2).get(timeout=3), Label)
assert_type(alone.apply_async(("text",), countdown=3).get(), Label)
assert_type(alone.AsyncResult("an id").get(), Label)
assert_type(alone.delay("text").state == "BATCHED", bool)
assert_type(alone.name, str)
as_celery_has_it: AsyncResult[Any] = alone.delay("text")
alone.delay(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
alone.delay()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
alone.delay("text", color=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
alone.delay("text").get().color  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


@batched_llm_task(app=app, name="a.name", autoretry_for=(ValueError,))
def with_app(text: str, *, size: int = 1) -> Label:
    return classify(text, size=size)


assert_type(with_app.delay("text", size=2).get(), Label)
with_app.delay(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@batched_llm_task(app=app, bind=True)
def bound(self: Task[Any, Any], text: str, *, size: int = 1) -> Label:
    assert_type(self.request.id, str | None)
    return classify(text, size=size)


assert_type(bound.delay("text", size=2).get(), Label)
bound.delay()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@batched_llm_task(label="night", strict=True, ask_again_on=(ValueError, KeyError))
def with_options(text: str) -> Label:
    return classify(text)


assert_type(with_options.delay("text").get(), Label)
batched_llm_task(lable="night", label=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]

# Under them


@shared_task
@batched_llm_task
def under_shared(text: str, *, size: int = 1) -> Label:
    return classify(text, size=size)


assert_type(under_shared.delay("text", size=2).get(), Label)
under_shared.delay(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@app.task
@batched_llm_task
def under_app(text: str, *, size: int = 1) -> Label:
    return classify(text, size=size)


assert_type(under_app, "Task[Any, Any]")


@app.task(bind=True, autoretry_for=(ValueError,))
@batched_llm_task
def under_app_bound(self: Task[Any, Any], text: str) -> Label:
    return classify(text)


assert_type(under_app_bound, "Task[Any, Any]")

# Above them


@batched_llm_task
@shared_task
def above_shared(text: str, *, size: int = 1) -> Label:
    return classify(text, size=size)


assert_type(above_shared.delay("text", size=2).get(), Label)
above_shared.delay(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@batched_llm_task
@app.task
def above_app(text: str) -> Label:
    return classify(text)


assert_type(above_app, "Task[Any, Any]")


@batched_llm_task(label="night")
@app.task
def above_app_with_options(text: str) -> Label:
    return classify(text)


assert_type(above_app_with_options, "Task[Any, Any]")

# Classes

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task


@batched_llm_task
class Decorated(AnyTask):
    def run(self, text: str) -> Label:
        return classify(text)


assert_type(Decorated(), Decorated)


@batched_llm_task(label="night")
class DecoratedWithOptions(AnyTask):
    def run(self, text: str) -> Label:
        return classify(text)


assert_type(DecoratedWithOptions(), DecoratedWithOptions)
assert_type(batched_llm_task(app.register_task(Decorated())), Decorated)


class DecoratedRun(AnyTask):
    @batched_llm_task
    def run(self, text: str) -> Label:  # pyright: ignore[reportIncompatibleMethodOverride]
        return classify(text)


assert_type(DecoratedRun().run("text"), Label)
DecoratedRun().run(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Bodies that are coroutines: called directly they are awaited, and what they return is the result


async def classify_soon(text: str, *, size: int = 1) -> Label:
    return classify(text, size=size)


@batched_llm_task
async def soon(text: str, *, size: int = 1) -> Label:
    return await classify_soon(text, size=size)


assert_type(soon.delay("text", size=2).get(timeout=3), Label)
assert_type(soon.apply_async(("text",)).get(), Label)
assert_type(soon.AsyncResult("an id").get(), Label)
soon.delay(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@batched_llm_task(app=app, bind=True)
async def soon_bound(self: Task[Any, Any], text: str) -> list[Label]:
    return [await soon(text)]


assert_type(soon_bound.delay("text").get(), list[Label])


@batched_llm_task(label="night")
async def soon_with_options(text: str) -> Label:
    assert_type(await soon(text, size=2), Label)
    assert_type(await soon_bound(text), list[Label])
    return await soon(text)


assert_type(soon_with_options.delay("text").get(), Label)


@shared_task
@batched_llm_task
async def soon_under_shared(text: str) -> Label:
    return await soon(text)


@batched_llm_task
class SoonDecorated(AnyTask):
    async def run(self, text: str) -> Label:
        return await soon(text)


assert_type(SoonDecorated(), SoonDecorated)

# What a body uses


def passes_tasks_on(task: BatchedTask[[str], Label]) -> Label:
    return task.delay("text").get()


passes_tasks_on(with_options)
assert_type(batchq.once(classify, "text", size=2), Label)
batchq.once(classify, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
assert_type(batchq.gather(lambda: classify("a"), lambda: classify("b")), list[Label])
with batchq.live():
    assert_type(alone("text"), Label)


async def ask_both() -> None:
    async def ask(text: str) -> Label:
        return classify(text)

    assert_type(await batchq.gather(ask("a"), ask("b")), list[Label])


# Under other decorators


def timed(fun: Callable[P, R]) -> Callable[P, R]:
    return fun


@batched_llm_task
@timed
def wrapped(text: str) -> Label:
    return classify(text)


assert_type(wrapped.delay("text").get(), Label)
wrapped.delay(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@timed
@batched_llm_task
def wraps(text: str) -> Label:
    return classify(text)


assert_type(wraps("text"), Label)
