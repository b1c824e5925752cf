"""A capture is no error, and is not reported as one; whatever else is reported, still is.

"Task exception was never retrieved … Captured" stood in the log at each wait of a body that had
left a coroutine behind, and a traceback on stderr for each of its threads.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from batchq.capture.hush import hush_captures
from batchq.capture.run import Captured
from tests.capture.bench import Bench, ask, ask_async

client = OpenAI()
async_client = AsyncOpenAI()

REPORTING = ("asyncio", "concurrent.futures")


def both(first: BaseException, second: BaseException) -> BaseException:
    return BaseExceptionGroup("both", [first, BaseExceptionGroup("inner", [second])])


def left_by_a_coroutine(error: BaseException) -> None:
    async def fails() -> None:
        raise error

    async def main() -> None:
        left = asyncio.ensure_future(fails())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del left
        gc.collect()

    asyncio.run(main())


def left_at_the_end(error: BaseException) -> None:
    async def fails() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise error

    async def main() -> asyncio.Task[None]:
        left = asyncio.create_task(fails())
        await asyncio.sleep(0)
        return left

    asyncio.run(main())


def by_a_callback(error: BaseException) -> None:
    def fails(_: Future[bool]) -> None:
        raise error

    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(go.wait).add_done_callback(fails)
        go.set()


WAYS = [left_by_a_coroutine, left_at_the_end, by_a_callback]


@pytest.fixture
def reported(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[Any]]]:
    hush_captures()
    with caplog.at_level(logging.ERROR):
        yield lambda: [one.exc_info for one in caplog.records if one.name in REPORTING]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("error", [Captured(), both(Captured(), Captured())], ids=["one", "two"])
def test_a_capture_is_not_reported(
    way: Callable[..., None], error: BaseException, reported: Callable[[], list[Any]]
) -> None:
    way(error)
    assert reported() == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    "error",
    [ValueError("one"), both(ValueError("two"), Captured()), ExceptionGroup("g", [KeyError("k")])],
    ids=["one", "beside a capture", "a group"],
)
def test_anything_else_is(
    way: Callable[..., None], error: BaseException, reported: Callable[[], list[Any]]
) -> None:
    way(error)
    assert [found[1] for found in reported()] == [error]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Captured(), 0),
        (both(Captured(), Captured()), 0),
        (ValueError("one"), 1),
        (both(ValueError("two"), Captured()), 1),
    ],
)
def test_threads_report_likewise(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, told: int
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", heard.append)
    hush_captures()
    hush_captures()

    def fails() -> None:
        raise error

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    assert [args.exc_value for args in heard] == [error] * told


def test_a_body_that_leaves_calls_behind_waits_in_silence(
    bench: Bench,
    reported: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", heard.append)
    hush_captures()

    async def left(text: str) -> str:
        calls = [asyncio.ensure_future(ask_async(async_client, f"{text} {n}")) for n in range(3)]
        await asyncio.wait(calls)
        return calls[0].result()

    @bench.task
    def body(text: str) -> str:
        thread = threading.Thread(target=ask, args=(client, f"{text} in a thread"))
        thread.start()
        thread.join()
        return asyncio.run(left(text))

    bench.ask(body, "a text")
    gc.collect()
    assert bench.waiting() == 4
    assert reported() == []
    assert heard == []
