"""A captured question stays one question, and a body that goes on after it is told so.

Retry libraries and bare excepts swallow what ends a body that has asked: each of their tries was a
new question, paid for four to six times in one batch; without an end to the tries the body never
ended, and nobody was told. Bodies that collect outcomes went on, and saved captures as answers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

import batchq
from batchq import CaptureSwallowed
from tests.capture.bench import Bench, ask, ask_async

client = OpenAI()
async_client = AsyncOpenAI()


def warnings_in(log: pytest.LogCaptureFixture, level: str = "WARNING") -> list[str]:
    found = [one for one in log.records if one.name.startswith("batchq")]
    return [one.getMessage() for one in found if one.levelname == level]


def tries(call: Callable[[], Any], times: int = 5) -> Any:
    """As a library that tries again on whatever is raised."""
    for _ in range(times):
        try:
            return call()
        except BaseException as error:  # noqa: BLE001 as such libraries do
            last = error
    raise last


def in_a_loop() -> str:
    return str(tries(lambda: ask(client, "hello")))


def in_a_loop_of_one_loop_each() -> str:
    return str(tries(lambda: asyncio.run(ask_async(async_client, "hello"))))


def in_one_coroutine() -> str:
    async def body() -> str:
        for _ in range(5):
            try:
                return await ask_async(async_client, "hello")
            except BaseException as error:  # noqa: BLE001 as such libraries do
                last = error
        raise last

    return asyncio.run(body())


def in_a_coroutine_for_each_try() -> str:
    async def body() -> str:
        for _ in range(5):
            try:
                return await asyncio.wait_for(ask_async(async_client, "hello"), 10)
            except BaseException as error:  # noqa: BLE001 as such libraries do
                last = error
        raise last

    return asyncio.run(body())


def in_a_thread_for_each_try() -> str:
    def once() -> str:
        found: list[Any] = []

        def work() -> None:
            try:
                found.append(ask(client, "hello"))
            except BaseException as error:  # noqa: BLE001 as such libraries do
                found.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(found[0], BaseException):
            raise found[0]
        return str(found[0])

    return str(tries(once))


def in_a_pool_for_each_try() -> str:
    with ThreadPoolExecutor(1) as pool:
        return str(tries(lambda: pool.submit(ask, client, "hello").result()))


WAYS = [
    in_a_loop,
    in_a_loop_of_one_loop_each,
    in_one_coroutine,
    in_a_coroutine_for_each_try,
    in_a_thread_for_each_try,
    in_a_pool_for_each_try,
]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_tried_again_is_one_question(bench: Bench, way: Callable[[], str]) -> None:
    @bench.task
    def body() -> str:
        return way()

    assert "hello" in bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 1


VOTES = 5


def votes_by_gather() -> list[str]:
    return batchq.gather(*(lambda: ask(client, "heads or tails?") for _ in range(VOTES)))


def votes_by_asyncio() -> list[str]:
    async def body() -> list[str]:
        asked = (ask_async(async_client, "heads or tails?") for _ in range(VOTES))
        return list(await asyncio.gather(*asked))

    return asyncio.run(body())


def votes_in_a_pool() -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda _: ask(client, "heads or tails?"), range(VOTES)))


@pytest.mark.parametrize("way", [votes_by_gather, votes_by_asyncio, votes_in_a_pool])
def test_equal_questions_side_by_side_are_questions_of_their_own(
    bench: Bench, way: Callable[[], list[str]]
) -> None:
    @bench.task
    def body() -> list[str]:
        return way()

    assert len(bench.run(body)) == VOTES
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["batches_created"]) == (VOTES, 1)


def test_from_the_tenth_try_on_the_log_names_task_and_place(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    @bench.task
    def body() -> str:
        return str(tries(lambda: ask(client, "hello"), times=15))

    bench.ask(body)
    (error,) = warnings_in(caplog, "ERROR")
    assert body.name in error
    assert "line" in error
    assert bench.waiting() == 1


# A body that goes on


def gathered_outcomes() -> list[str]:
    async def body() -> list[Any]:
        asked = (ask_async(async_client, text) for text in ("one", "two", "three"))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    return [str(outcome) for outcome in asyncio.run(body())]


def waited_for() -> list[str]:
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(ask, client, text) for text in ("one", "two", "three")]
        wait(futures)
    return [str(future.exception() or future.result()) for future in futures]


def returned_in_finally() -> list[str]:
    answers = []
    try:
        answers = [ask(client, text) for text in ("one", "two", "three")]
    finally:
        return answers  # noqa: B012 a body may do this


def swallowed_one_by_one() -> list[str]:
    answers: list[str] = []
    for text in ("one", "two", "three"):
        try:
            answers.append(ask(client, text))
        except:  # noqa: E722 a body may do this
            answers.append("none")
    return answers


ON = [gathered_outcomes, waited_for, returned_in_finally, swallowed_one_by_one]


@pytest.mark.parametrize("goes_on", ON)
def test_a_body_that_goes_on_is_told_so(
    bench: Bench, goes_on: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    @bench.task
    def body() -> list[str]:
        return goes_on()

    result = bench.ask(body)
    (warning,) = warnings_in(caplog)
    assert "went on after its question" in warning
    assert body.name in warning
    assert "strict=True" in warning
    while result.state == "BATCHED":
        bench.answer()
        bench.deliver()
    assert len(result.result) == 3
    assert bench.emulator.ledger()["lines_known"] == 3


@pytest.mark.parametrize("goes_on", ON)
def test_strict_makes_it_an_error_before_anything_is_paid_for(
    bench: Bench, goes_on: Callable[[], list[str]]
) -> None:
    @bench.task(strict=True)
    def body() -> list[str]:
        return goes_on()

    with pytest.raises(CaptureSwallowed):
        bench.run(body)
    assert bench.waiting() == 0


def test_a_body_that_ends_by_the_signal_is_told_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    @bench.task
    def body() -> str:
        try:
            return ask(client, "hello")
        except BaseException as error:
            raise RuntimeError("rolled back") from error

    bench.ask(body)
    assert warnings_in(caplog) == []
