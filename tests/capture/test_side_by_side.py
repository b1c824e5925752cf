"""Calls started side by side share one round, and a run that has asked waits however it ended."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

import batchq
from tests.capture.bench import Bench, ask, ask_async

client = OpenAI()
async_client = AsyncOpenAI()
TEN = [f"question {number}" for number in range(10)]


def in_ten_threads() -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda text: ask(client, text), TEN))


async def by_to_thread() -> list[str]:
    return await asyncio.gather(*(asyncio.to_thread(ask, client, text) for text in TEN))


def by_gather() -> list[str]:
    return batchq.gather(*(lambda text=text: ask(client, text) for text in TEN))


async def by_asyncio_gather() -> list[str]:
    return await asyncio.gather(*(ask_async(async_client, text) for text in TEN))


async def by_async_gather() -> list[str]:
    return await batchq.gather(*(ask_async(async_client, text) for text in TEN))


async def in_a_task_group() -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask_async(async_client, text)) for text in TEN]
    return [task.result() for task in tasks]


async def three_at_a_time() -> list[str]:
    semaphore = asyncio.Semaphore(3)

    async def one(text: str) -> str:
        async with semaphore:
            return await ask_async(async_client, text)

    return await asyncio.gather(*map(one, TEN))


async def as_completed() -> list[str]:
    tasks = [asyncio.create_task(ask_async(async_client, text)) for text in TEN]
    return sorted([await task for task in asyncio.as_completed(tasks)])


ALL_AT_ONCE: dict[str, Callable[[], Any]] = {
    "asyncio.gather": by_asyncio_gather,
    "TaskGroup": in_a_task_group,
    "Semaphore": three_at_a_time,
    "asyncio.as_completed": as_completed,
    "ThreadPoolExecutor.map": in_ten_threads,
    "asyncio.to_thread": by_to_thread,
    "batchq.gather": by_gather,
    "batchq.gather of awaitables": by_async_gather,
}


@pytest.mark.parametrize("name", ALL_AT_ONCE)
def test_ten_calls_side_by_side_are_one_round(bench: Bench, name: str) -> None:
    call = ALL_AT_ONCE[name]

    @bench.task
    def body() -> list[str]:
        called = call()
        return asyncio.run(awaited(called)) if asyncio.iscoroutine(called) else called

    result = bench.ask(body)
    assert bench.waiting() == 10
    bench.answer()
    bench.deliver()
    expected = [ask(client, text) for text in TEN]
    assert result.result == (sorted(expected) if name == "asyncio.as_completed" else expected)
    assert bench.emulator.ledger()["batches_created"] == 1


async def awaited(given: Awaitable[Any]) -> Any:
    return await given


def in_two_steps(text: str) -> str:
    return ask(client, f"Improve: {ask(client, text)}")


async def in_two_async_steps(text: str) -> str:
    first = await ask_async(async_client, text)
    # As a body that looks something up between its questions.
    await asyncio.sleep(0)
    return await ask_async(async_client, f"Improve: {first}")


def chains_by_gather() -> list[str]:
    return batchq.gather(*(lambda text=text: in_two_steps(text) for text in TEN))


async def chains_by_asyncio_gather() -> list[str]:
    return await asyncio.gather(*map(in_two_async_steps, TEN))


async def chains_through_a_semaphore() -> list[str]:
    semaphore = asyncio.Semaphore(2)

    async def one(text: str) -> str:
        async with semaphore:
            return await in_two_async_steps(text)

    return await asyncio.gather(*map(one, TEN))


def chains_in_threads() -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(in_two_steps, TEN))


@pytest.mark.parametrize(
    "chains",
    [
        chains_by_gather,
        chains_by_asyncio_gather,
        chains_through_a_semaphore,
        chains_in_threads,
    ],
)
def test_chains_of_calls_side_by_side_do_not_take_each_others_answers(
    bench: Bench, chains: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The second call of one chain is new while the first call of the next is still to come.

    It was taken for a request that had changed, and was given the answer of that other call.
    """

    @bench.task
    def body() -> list[str]:
        called = chains()
        return asyncio.run(awaited(called)) if asyncio.iscoroutine(called) else called

    assert bench.run(body) == [in_two_steps(text) for text in TEN]
    assert [record for record in caplog.records if record.name == "batchq.run"] == []
    ledger = bench.emulator.ledger()
    assert ledger["lines_known"] == 20
    assert ledger["duplicates"] == {}


def test_gather_asks_all_even_where_one_of_them_ends_with_a_group(bench: Bench) -> None:
    """A capture inside a TaskGroup arrives as a group of exceptions, and gather stopped at it."""

    def in_a_group(text: str) -> str:
        async def grouped() -> str:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(ask_async(async_client, text))
            return task.result()

        return asyncio.run(grouped())

    @bench.task
    def body() -> list[str]:
        return batchq.gather(lambda: in_a_group("one"), lambda: in_a_group("two"))

    bench.ask(body)
    assert bench.waiting() == 2


def test_gather_raises_an_error_once_all_were_asked(bench: Bench) -> None:
    def fail() -> str:
        raise LookupError("no such ticket")

    @bench.task
    def body() -> list[str]:
        return batchq.gather(fail, lambda: ask(client, "one"), lambda: ask(client, "two"))

    result = bench.ask(body)
    assert bench.waiting() == 2
    bench.answer()
    bench.deliver()
    assert isinstance(result.result, LookupError)


def test_gather_is_a_plain_loop_elsewhere() -> None:
    async def three() -> int:
        return 3

    async def gathered() -> list[int]:
        return await batchq.gather(three(), three())

    assert batchq.gather(lambda: 1, lambda: 2) == [1, 2]
    assert batchq.gather() == []
    assert asyncio.run(gathered()) == [3, 3]


# However the body ends


def swallow_everything(text: str) -> str:
    try:
        return ask(client, text)
    except:  # noqa: E722 a body may do this
        return "swallowed"


def hide_in_results(text: str) -> list[Any]:
    async def gathered() -> list[Any]:
        return list(await asyncio.gather(ask_async(async_client, text), return_exceptions=True))

    return [str(item) for item in asyncio.run(gathered())]


def raise_on_the_way_out(text: str) -> str:
    try:
        return ask(client, text)
    except BaseException as error:
        raise RuntimeError("the connection is gone") from error


def raise_in_finally(text: str) -> str:
    worked = False
    try:
        answer = ask(client, text)
        worked = True
        return answer
    finally:
        if not worked:
            raise RuntimeError("rolled back")


def ask_in_a_thread_that_nobody_asks(text: str) -> str:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, client, text)
        error = future.exception()
    return future.result() if error is None else "not asked"


@pytest.mark.parametrize(
    "end",
    [
        swallow_everything,
        hide_in_results,
        raise_on_the_way_out,
        raise_in_finally,
        ask_in_a_thread_that_nobody_asks,
    ],
)
def test_a_run_that_has_asked_waits_however_its_body_ended(
    bench: Bench, end: Callable[[str], Any]
) -> None:
    @bench.task
    def body(text: str) -> Any:
        return end(text)

    answer = bench.run(body, "hello")
    assert answer in (ask(client, "hello"), [ask(client, "hello")])
    assert bench.emulator.ledger()["lines_known"] == 1


def test_calls_that_come_a_little_later_share_the_round(bench: Bench) -> None:
    """A body looks up each ticket before it asks: the first that asked ended the TaskGroup, and the
    others, still at their look-up, were left for the next round, a day later.
    """

    async def one(number: int) -> str:
        await asyncio.sleep(number / 500)  # the look-up, each in its own time
        return await ask_async(async_client, f"question {number}")

    async def grouped() -> list[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(5)]
        return [task.result() for task in tasks]

    @bench.task
    def body() -> list[str]:
        return asyncio.run(grouped())

    bench.ask(body)
    assert bench.waiting() == 5


def test_a_call_that_came_first_this_time_is_not_taken_for_one_that_changed(bench: Bench) -> None:
    """Two coroutines of which the first to ask ends the other, in turns: each is asked once."""
    first = itertools.cycle([0, 1])

    async def one(number: int, turn: asyncio.Event, *, leads: bool) -> str:
        if not leads:
            await turn.wait()
            await asyncio.sleep(0.5)
        turn.set()
        return await ask_async(async_client, f"question {number}")

    async def grouped() -> list[str]:
        turn, leader = asyncio.Event(), next(first)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(one(number, turn, leads=number == leader)) for number in (0, 1)
            ]
        return [task.result() for task in tasks]

    @bench.task
    def body() -> list[str]:
        return asyncio.run(grouped())

    assert bench.run(body) == [ask(client, "question 0"), ask(client, "question 1")]
    assert bench.emulator.ledger()["lines_known"] == 2


def test_questions_side_by_side_that_change_for_ever_end_in_words(bench: Bench) -> None:
    """One coroutine beside another asks something new in each run: asking on would be paid for
    without end.
    """
    times = itertools.count()

    async def beside() -> str:
        idle = asyncio.create_task(asyncio.sleep(30))
        try:
            return await ask_async(async_client, f"It is {next(times)} o'clock.")
        finally:
            idle.cancel()

    @bench.task
    def body() -> str:
        return asyncio.run(beside())

    with pytest.raises(batchq.RequestChanged):
        bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 2
