"""An `async def` body is run, wherever its task runs.

It failed with "coroutine is not JSON serializable", at its first run, and the decorator had said
nothing. A body that is a coroutine runs to its end as any other: in a loop of its own, within its
run, with Celery's limits, retries and requests.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import os
import signal
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from billiard.pool import soft_timeout_sighandler
from celery.exceptions import SoftTimeLimitExceeded
from openai import APIConnectionError, AsyncOpenAI, OpenAI
from pydantic import BaseModel

import batchq
from batchq import batched_llm_task
from batchq.capture.parked import BATCHED
from tests.capture.bench import Bench, ask, ask_async, user

client = OpenAI(max_retries=0)
async_client = AsyncOpenAI(max_retries=0)
TEN = [f"question {number}" for number in range(10)]

seen: ContextVar[str] = ContextVar("seen", default="")


async def answer(text: str) -> str:
    return await ask_async(async_client, text)


async def in_a_task_group(text: str) -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(answer(one)) for one in TEN]
    return [task.result() for task in tasks]


async def by_gather(text: str) -> list[str]:
    return await asyncio.gather(*map(answer, TEN))


async def in_threads(text: str) -> list[str]:
    calls = [asyncio.to_thread(ask, client, one) for one in TEN]
    return await batchq.gather(*calls)


async def through_a_queue(text: str) -> list[str]:
    """The body itself waits at the queue, for those that take from it."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    answers: list[str] = []

    async def work() -> None:
        while True:
            answers.append(await answer(await queue.get()))
            queue.task_done()

    for one in TEN:
        queue.put_nowait(one)
    workers = [asyncio.create_task(work()) for _ in range(2)]
    done = asyncio.create_task(queue.join())
    await asyncio.wait([done, *workers], return_when=asyncio.FIRST_COMPLETED)
    for worker in workers:
        worker.cancel()
    for worker in workers:
        if worker.done() and not worker.cancelled():
            worker.result()
    return sorted(answers)


@pytest.mark.parametrize("calls", [in_a_task_group, by_gather, in_threads])
def test_calls_side_by_side_share_a_round(bench: Bench, calls: Callable[..., Any]) -> None:
    body = bench.task(calls)
    result = bench.ask(body, "")
    assert bench.waiting() == 10
    bench.answer()
    bench.deliver()
    assert result.state == "SUCCESS"
    assert result.result == [ask(client, one) for one in TEN]
    assert bench.emulator.ledger()["batches_created"] == 1


def test_calls_from_a_queue_are_answered(bench: Bench) -> None:
    assert bench.run(bench.task(through_a_queue), "") == sorted(ask(client, one) for one in TEN)


def test_a_body_with_calls_one_after_the_other_is_a_round_for_each(bench: Bench) -> None:
    @bench.task(bind=True, name="two")
    async def two(self: Any, text: str, *, more: str = "more") -> list[str]:
        assert self.request.id
        first = await answer(text)
        await asyncio.sleep(0)
        return [first, await answer(f"{more}: {first}")]

    first, second = bench.run(two, "begin")
    assert second == ask(client, f"more: {first}")
    assert bench.emulator.ledger()["batches_created"] == 2


def timed(fun: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fun)
    def whole(*args: Any, **kwargs: Any) -> Any:
        return fun(*args, **kwargs)

    return whole


def test_a_decorator_between_may_hide_that_it_is_a_coroutine(bench: Bench) -> None:
    @bench.task
    @timed
    async def hidden(text: str) -> str:
        return await answer(text)

    assert bench.run(hidden, "hidden") == ask(client, "hidden")


def test_any_awaitable_is_waited_for(bench: Bench) -> None:
    class Later:
        def __await__(self) -> Any:
            return answer("later").__await__()

    @bench.task
    def later() -> Later:
        return Later()

    assert bench.run(later) == ask(client, "later")


# Wherever the decorator stands


def test_autoretry_sees_the_errors_of_a_coroutine(bench: Bench) -> None:
    """Above, Celery's own wrapper would get the coroutine and no error."""
    tries: list[str] = []
    options: dict[str, Any] = {
        "autoretry_for": (KeyError,),
        "max_retries": 1,
        "default_retry_delay": 0,
        "retry_backoff": False,
    }

    async def failing(text: str) -> str:
        tries.append(await answer(text))
        if len(tries) % 2:
            raise KeyError(text)
        return tries[-1]

    class Failing(bench.app.Task):  # type: ignore[name-defined,misc]
        name = "failing.class"
        autoretry_for = (KeyError,)
        default_retry_delay = 0

        async def run(self, text: str) -> str:
            return await failing(text)

    app: Any = bench.app
    under = app.task(name="failing.under", shared=False, **options)(batched_llm_task(failing))
    above = batched_llm_task(app.task(name="failing.above", shared=False, **options)(failing))
    instead = bench.task(name="failing.instead", **options)(failing)
    of_a_class = app.register_task(batched_llm_task(Failing)())
    instance = app.register_task(type("Other", (Failing,), {"name": "failing.instance"})())
    for task in (under, above, instead, of_a_class, instance):
        tries.clear()
        text = f"for {task.name}"
        result = bench.send(batched_llm_task(task) if task is instance else task, text)
        while bench.deliver():
            if result.state == BATCHED:
                bench.answer()
        assert result.state == "SUCCESS", task.name
        assert result.result == ask(client, text)
        assert len(tries) == 2


def test_a_pydantic_task_gets_its_models(bench: Bench) -> None:
    @bench.app.task(pydantic=True, shared=False)
    @batched_llm_task
    async def pydantic(ticket: Ticket) -> Ticket:
        return Ticket(text=await answer(ticket.text))

    assert bench.run(pydantic, {"text": "a ticket"}) == {"text": ask(client, "a ticket")}


class Ticket(BaseModel):
    text: str


# Calls that are made now


@pytest.fixture
def one_live_call(bench: Bench) -> Iterator[None]:
    yield
    assert bench.emulator.ledger()["live_calls"] == 1
    assert bench.waiting() == 0


@pytest.mark.usefixtures("one_live_call")
def test_called_directly_it_is_a_coroutine_function(bench: Bench) -> None:
    body = bench.task(answer)
    assert asyncio.run(body("now"))


@pytest.mark.usefixtures("one_live_call")
def test_a_header_makes_the_call_now(bench: Bench) -> None:
    result = bench.send(bench.task(answer), "now", headers={"batchq": "live"})
    bench.deliver()
    assert result.result


@pytest.mark.usefixtures("one_live_call")
def test_apply_makes_the_call_now(bench: Bench) -> None:
    assert bench.task(answer).apply(("now",)).get()


@pytest.mark.usefixtures("one_live_call")
def test_a_task_with_a_call_of_its_own_is_run_too(bench: Bench) -> None:
    class Own(bench.app.Task):  # type: ignore[name-defined,misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs)

    assert bench.task(base=Own)(answer).apply(("now",)).get()


@pytest.mark.usefixtures("one_live_call")
def test_map_runs_its_items(bench: Bench) -> None:
    assert bench.task(answer).map(["now"]).apply().get()


@pytest.mark.usefixtures("one_live_call")
def test_an_eager_call_within_a_loop_has_its_request(bench: Bench) -> None:
    """A handler of a web framework, or a test, sends tasks to an app that is always eager."""

    @bench.task(bind=True, name="within")
    async def within(self: Any, text: str) -> list[str]:
        assert seen.get() == "by the caller"
        return [self.request.id, self.name, await answer(text)]

    async def handler() -> Any:
        seen.set("by the caller")
        return within.apply(("now",), task_id="an id").get()

    assert asyncio.run(handler())[:2] == ["an id", "within"]


@pytest.mark.parametrize("headers", [{}, {"batchq": "live"}], ids=["batched", "live"])
def test_a_body_awaits_other_batched_tasks_and_itself(
    bench: Bench, headers: dict[str, str]
) -> None:
    other = bench.task(answer)

    @bench.task(name="outer")
    async def outer(depth: int) -> list[str]:
        if depth:
            return [*await outer(depth - 1), await other(f"at {depth}")]
        return []

    result = bench.send(outer, 2, headers=headers)
    while bench.deliver():
        if result.state == BATCHED:
            bench.answer()
    assert result.result == [ask(client, "at 1"), ask(client, "at 2")]


# Loops and what belongs to them


def test_a_loop_is_left_as_clean_as_asyncio_run_leaves_it(bench: Bench) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    closed: list[str] = []
    kept: list[tuple[AsyncIterator[int], asyncio.Task[None]]] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append("generator")

    async def forever() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            closed.append("task")

    @bench.task
    async def untidy(text: str) -> str:
        loops.append(asyncio.get_running_loop())
        left = asyncio.create_task(forever())
        await asyncio.sleep(0)
        kept.append((numbers(), left))
        async for _ in kept[-1][0]:
            return await answer(text)
        return ""

    mine = asyncio.new_event_loop()
    asyncio.set_event_loop(mine)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert bench.run(untidy, "tidy") == ask(client, "tidy")
        gc.collect()
    assert not [one for one in warned if "loop" in str(one.message) or "never" in str(one.message)]
    assert [loop.is_closed() for loop in loops] == [True, True]
    assert sorted(closed) == ["generator", "generator", "task", "task"]
    assert asyncio.get_event_loop_policy().get_event_loop() is mine, "a plain task's own stays"
    asyncio.set_event_loop(None)
    mine.close()


def test_a_body_that_ends_cancelled_fails(bench: Bench) -> None:
    """A BaseException would take the worker along."""

    @bench.task
    async def cancelled(text: str) -> None:
        await answer(text)
        raise asyncio.CancelledError

    with pytest.raises(concurrent.futures.CancelledError):
        bench.run(cancelled, "end")


@pytest.mark.parametrize("in_threads", [False, True], ids=["one after the other", "side by side"])
def test_a_client_of_the_module_makes_live_calls_in_each_loop(
    bench: Bench, *, in_threads: bool
) -> None:
    """Its connections are of the loop that opened them: "Event loop is closed"."""

    @bench.task
    async def live(text: str) -> str:
        with batchq.live():
            first = await answer(text)
            both = await asyncio.gather(answer("left"), answer("right"))
        return f"{first} {both} {await answer('batched')}"

    results: list[Any] = []

    def deliver() -> None:
        mine = threading.get_ident()
        results.extend(live.apply((f"{mine} {number}",)) for number in range(3))

    threads = [threading.Thread(target=deliver) for _ in range(2 if in_threads else 0)]
    for thread in threads:
        thread.start()
    for number in range(3):
        assert bench.run(live, f"text {number}")
    for thread in threads:
        thread.join()
    assert [result.state for result in results] == ["SUCCESS"] * 3 * len(threads)
    assert bench.emulator.ledger()["batches_created"] == 3


def test_a_client_that_the_body_closes_closes_its_connections(bench: Bench) -> None:
    @bench.task
    async def closing(text: str) -> str:
        with batchq.live():
            async with AsyncOpenAI() as own:
                said = await ask_async(own, text)
            # The SDK 2 makes an error of its own of it.
            with pytest.raises((RuntimeError, APIConnectionError)):
                await own.chat.completions.create(model="gpt-5.6-luna", messages=user(text))
        return said

    assert closing.apply(("close",)).get()


# Soft time limits


@pytest.fixture
def soft_limits() -> Iterator[None]:
    """Celery's own handler, as a process of a pool has it."""
    before = signal.signal(signal.SIGUSR1, soft_timeout_sighandler)
    yield
    assert signal.getsignal(signal.SIGUSR1) is soft_timeout_sighandler
    signal.signal(signal.SIGUSR1, before)


def limit_is_met() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


async def asleep() -> None:
    threading.Timer(0.05, limit_is_met).start()
    await asyncio.sleep(3600)


async def in_the_loop() -> None:
    asyncio.get_running_loop().call_soon(limit_is_met)
    await asyncio.sleep(3600)


async def at_work() -> None:
    limit_is_met()
    await asyncio.sleep(3600)


async def for_children() -> None:
    await asyncio.gather(asleep(), asyncio.sleep(3600))


async def for_a_child_at_work() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(at_work())
        group.create_task(asyncio.sleep(3600))


WAITS = [asleep, in_the_loop, at_work, for_children, for_a_child_at_work]


@pytest.mark.usefixtures("soft_limits")
@pytest.mark.parametrize("wait", WAITS)
def test_a_body_can_tidy_up_at_its_soft_limit(bench: Bench, wait: Callable[..., Any]) -> None:
    """Raised in the loop, as the signal comes, the body would only see that it is cancelled."""

    @bench.task
    async def limited(text: str) -> str:
        try:
            await wait()
        except* SoftTimeLimitExceeded:
            pass
        # It goes on as if nothing had been, cancelled by nobody.
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            tidy = group.create_task(asyncio.sleep(0, "tidy"))
        return f"{tidy.result()} {await answer(text)}"

    assert bench.run(limited, "up") == f"tidy {ask(client, 'up')}"


@pytest.mark.usefixtures("soft_limits")
@pytest.mark.parametrize("wait", [asleep, at_work, for_children])
def test_a_body_that_does_not_fails_by_it(bench: Bench, wait: Callable[..., Any]) -> None:
    closed: list[str] = []

    @bench.task
    async def limited(text: str) -> None:
        await answer(text)
        try:
            await wait()
        finally:
            await asyncio.sleep(0)
            closed.append(text)

    with pytest.raises(SoftTimeLimitExceeded):
        bench.run(limited, "fails")
    assert closed == ["fails"]
