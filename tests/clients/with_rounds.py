"""Which way of calling shares a round: the second table of docs/clients.md."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import litellm
import pytest
import tenacity
from langchain_openai import OpenAIEmbeddings
from openai import AsyncOpenAI, OpenAI, RateLimitError

import batchq
from tests.capture.bench import ask, ask_async
from tests.clients.both import Both, Journey

client = OpenAI()
TEN = [f"question {number}" for number in range(10)]
Recorder = Callable[[str, object], None]


def one_after_the_other() -> list[str]:
    """`[ask(text) for text in texts]`"""
    return [ask(client, text) for text in TEN]


def by_asyncio_gather() -> list[str]:
    """`asyncio.gather`"""

    async def all_of_them() -> list[str]:
        beside = AsyncOpenAI()
        return await asyncio.gather(*(ask_async(beside, text) for text in TEN))

    return asyncio.run(all_of_them())


def in_a_task_group() -> list[str]:
    """`asyncio.TaskGroup`"""

    async def all_of_them() -> list[str]:
        beside = AsyncOpenAI()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask_async(beside, text)) for text in TEN]
        return [task.result() for task in tasks]

    return asyncio.run(all_of_them())


def behind_a_semaphore() -> list[str]:
    """`asyncio.gather` behind a `Semaphore(3)`"""

    async def all_of_them() -> list[str]:
        beside, semaphore = AsyncOpenAI(), asyncio.Semaphore(3)

        async def one(text: str) -> str:
            async with semaphore:
                return await ask_async(beside, text)

        return await asyncio.gather(*map(one, TEN))

    return asyncio.run(all_of_them())


def by_batchq_gather() -> list[str]:
    """`batchq.gather`"""
    return batchq.gather(*(functools.partial(ask, client, text) for text in TEN))


def in_a_wide_pool() -> list[str]:
    """`ThreadPoolExecutor(10).map`"""
    with ThreadPoolExecutor(10) as pool:
        return list(pool.map(functools.partial(ask, client), TEN))


def in_a_narrow_pool() -> list[str]:
    """`ThreadPoolExecutor(4).map`"""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(functools.partial(ask, client), TEN))


def in_threads_of_asyncio() -> list[str]:
    """`asyncio.to_thread` in a gather"""

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(asyncio.to_thread(ask, client, text) for text in TEN))

    return asyncio.run(all_of_them())


ONE_ROUND = (by_asyncio_gather, in_a_task_group, behind_a_semaphore, by_batchq_gather)
THREADS = (in_a_wide_pool, in_a_narrow_pool, in_threads_of_asyncio)


@pytest.fixture(autouse=True)
def _works(request: pytest.FixtureRequest) -> None:
    """The row is named by the way of calling, where the test has one."""
    way = request.node.callspec.params.get("way") if hasattr(request.node, "callspec") else None
    if way is not None:
        request.node.user_properties.append(("works", way.__doc__))


def _measured(record_property: Recorder, journey: Journey) -> Journey:
    record_property("calls", journey.prompts)
    record_property("rounds", journey.rounds)
    return journey


def test_calls_one_after_the_other(both: Both, record_property: Recorder) -> None:
    """`[ask(text) for text in texts]`"""
    journey = _measured(record_property, both.journey(one_after_the_other))
    assert journey == Journey(result=one_after_the_other(), prompts=10, rounds=10)


@pytest.mark.parametrize("way", ONE_ROUND)
def test_side_by_side(both: Both, record_property: Recorder, way: Callable[[], Any]) -> None:
    journey = _measured(record_property, both.journey(way))
    assert journey == Journey(result=way(), prompts=10, rounds=1)


@pytest.mark.parametrize("way", THREADS)
def test_threads(both: Both, record_property: Recorder, way: Callable[[], Any]) -> None:
    journey = _measured(record_property, both.journey(way))
    assert (journey.result, journey.prompts, journey.live) == (way(), 10, 0)
    assert journey.rounds <= 4


def test_chunks_of_embeddings(
    both: Both, record_property: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LangChain's `embed_documents`, in chunks (`chunk_size=4` of 10 texts)"""
    tables = Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tables))

    def body() -> int:
        return len(OpenAIEmbeddings(dimensions=8, chunk_size=4).embed_documents(TEN))

    assert _measured(record_property, both.journey(body)) == Journey(result=10, prompts=3, rounds=3)


def test_a_429_under_tenacity(both: Both, record_property: Recorder) -> None:
    """one call that is refused for good with 429, under tenacity's `stop_after_attempt(3)`"""
    both.emulator.fault("rows_429", times=None, containing="too much")

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(RateLimitError),
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_none(),
    )
    def patient(text: str) -> str:
        return ask(client, text)

    def body() -> str:
        try:
            return patient("too much")
        except tenacity.RetryError:
            return "given up"

    created = both.emulator.ledger()["batches_created"]
    journey = both.journey(body)
    assert (journey.result, journey.live) == ("given up", 0)
    batches = both.emulator.ledger()["batches_created"] - created
    record_property("calls", 1)
    record_property("rounds", f"{journey.rounds}, in {batches} batches")
    assert batches <= 9
