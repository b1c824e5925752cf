"""What is refused at the call, before anything is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

import batchq
from batchq import PromptTooLarge, UnknownAccount
from tests.capture.bench import Bench, ask, ask_async
from tests.harness import Server

client = OpenAI()
SECRET = "sk-secret-of-another-account"


def test_a_prompt_that_fits_no_file_is_refused_with_its_size(
    make_bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    """It would wait in its lane for ever, or fail a batch of fifty thousand others."""
    bench = make_bench(batchq_accounts={"default": {"limits": {"bytes": 2000}}})

    @bench.task
    def body(length: int) -> str:
        return ask(client, "x" * length)

    with caplog.at_level("DEBUG", logger="openai"), pytest.raises(PromptTooLarge) as refused:
        bench.run(body, 3000)
    assert refused.value.unit == "bytes"
    assert 3000 < refused.value.size < 3500
    assert refused.value.limit == 2000
    assert f"{refused.value.size:,} bytes" in str(refused.value)
    assert "Retrying" not in caplog.text
    assert bench.waiting() == 0
    assert bench.run(body, 1000)


def test_the_largest_prompt_that_fits_is_taken(make_bench: Callable[..., Bench]) -> None:
    sizes: list[int] = []
    for limit in (1, 10_000):
        # The size in the first error is the limit that just lets it through.
        bytes_limit = sizes[0] if sizes else limit
        bench = make_bench(batchq_accounts={"default": {"limits": {"bytes": bytes_limit}}})

        @bench.task
        def body() -> str:
            return ask(client, "hello")

        if sizes:
            assert bench.run(body)
        else:
            with pytest.raises(PromptTooLarge) as refused:
                bench.run(body)
            sizes.append(refused.value.size)


def test_an_embeddings_call_with_too_many_texts_is_refused(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(batchq_accounts={"default": {"limits": {"embedding_inputs": 2}}})

    @bench.task
    def body(count: int) -> int:
        texts = ["text"] * count
        found = client.embeddings.create(model="text-embedding-3-small", input=texts)
        return len(found.data)

    with pytest.raises(PromptTooLarge, match="3 inputs"):
        bench.run(body, 3)
    assert bench.waiting() == 0
    assert bench.run(body, 2) == 2


def test_a_large_call_can_go_live(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(batchq_accounts={"default": {"limits": {"bytes": 10}}})

    @bench.task
    def body() -> str:
        with batchq.live():
            return ask(client, "hello")

    assert bench.run(body)


def other_key() -> dict[str, Any]:
    return {"api_key": SECRET}


def other_base_url() -> dict[str, Any]:
    return {"api_key": SECRET, "base_url": "https://llm.example.com/team/v1"}


@pytest.mark.parametrize("given", [other_key, other_base_url])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_client_of_an_unknown_account_is_refused(
    make_bench: Callable[..., Bench],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    given: Callable[[], dict[str, Any]],
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error says which client and what to configure; its key goes nowhere."""
    # Where one account has the base URL, a key that differs may be a new one of that account.
    monkeypatch.setenv("SECOND_KEY", "sk-second")
    bench = make_bench(batchq_accounts={"first": {}, "second": {"api_key": "env:SECOND_KEY"}})

    async def call() -> str:
        async with AsyncOpenAI(**given()) as stranger:
            return await ask_async(stranger, "hello")

    @bench.task
    def body() -> str:
        if kind == "async":
            return asyncio.run(call())
        return ask(OpenAI(**given()), "hello")

    result = bench.send(body)
    with caplog.at_level("DEBUG"):
        bench.deliver()
    error = result.result
    assert isinstance(error, UnknownAccount)
    base_url = given().get("base_url", bench.emulator.url)
    assert base_url in str(error)
    assert "batchq_accounts" in str(error)
    for text in (str(error), repr(error), str(result.traceback), caplog.text):
        assert SECRET not in text
    assert "Retrying" not in caplog.text
    assert bench.waiting() == 0
    assert bench.journal.tallies.counters() == {}
    assert not any(SECRET.encode() in written for written in _all_written(server))
    assert bench.emulator.ledger()["live_calls"] == 0


def test_the_key_of_a_captured_call_is_nowhere_in_redis(
    bench: Bench, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-this-account")

    @bench.task
    def body() -> str:
        return ask(OpenAI(), "hello")

    bench.run(body)
    assert not any(b"sk-secret-of-this-account" in written for written in _all_written(server))


def _all_written(server: Server) -> list[bytes]:
    """Every command that ever changed this server's data."""
    files = list(Path(server.directory).rglob("*.aof"))
    assert files
    return [file.read_bytes() for file in files]
