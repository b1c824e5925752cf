"""Whatever client is built on the SDK, its calls are captured in a batched body, and only there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, DefaultHttpxClient, OpenAI

from batchq.flow.resume import answer
from batchq.prompt import Outcome
from tests.capture.bench import MODEL, Bench, ask, ask_async, user
from tests.harness import API_KEY, Emulator

API_VERSION = "2025-04-01-preview"

before_any_task = OpenAI()


class TeamClient(OpenAI):
    """What teams do to share a retry policy or a default."""

    def ask(self, text: str) -> str:
        return ask(self, text)


CLIENTS: dict[str, Callable[[], OpenAI]] = {
    "OpenAI": OpenAI,
    "made at module level": lambda: before_any_task,
    "with_options": lambda: OpenAI().with_options(max_retries=5, timeout=3),
    "with_options, then used again": lambda: before_any_task.with_options(timeout=3),
    "a subclass": TeamClient,
    "the SDK's own kind of HTTP client": lambda: OpenAI(http_client=DefaultHttpxClient()),
    "an httpx client of the user": lambda: OpenAI(http_client=httpx.Client()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_is_captured(bench: Bench, name: str) -> None:
    client = CLIENTS[name]()

    @bench.task
    def body(text: str) -> str:
        return ask(client, text)

    assert bench.run(body, "hello") == body("hello")
    if client._client is not before_any_task._client:
        client.close()
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["live_calls"]) == (1, 1)


ASYNC_CLIENTS: dict[str, Callable[[], AsyncOpenAI]] = {
    "AsyncOpenAI": AsyncOpenAI,
    "with_options": lambda: AsyncOpenAI().with_options(timeout=3),
    "an httpx client of the user": lambda: AsyncOpenAI(http_client=httpx.AsyncClient()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", ASYNC_CLIENTS)
def test_an_async_client_is_captured(bench: Bench, name: str) -> None:
    async def call(text: str) -> str:
        async with ASYNC_CLIENTS[name]() as client:
            return await ask_async(client, text)

    @bench.task
    def body(text: str) -> str:
        return asyncio.run(call(text))

    assert bench.run(body, "hello") == body("hello")
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["live_calls"]) == (1, 1)


def azure_accounts(emulator: Emulator, **more: Any) -> dict[str, Any]:
    return {"azure": {"kind": "azure", "base_url": emulator.root, **more}}


@pytest.fixture
def azure_key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-opens-nothing")
    return "azure-opens-nothing"


def azure_client(emulator: Emulator, **more: Any) -> AzureOpenAI:
    return AzureOpenAI(azure_endpoint=emulator.root, api_version=API_VERSION, **more)


def test_an_azure_client_is_captured(
    make_bench: Callable[..., Bench], emulator: Emulator, azure_key: str
) -> None:
    bench = make_bench(batchq_accounts=azure_accounts(emulator, api_version=API_VERSION))
    client = azure_client(emulator)

    @bench.task
    def body(text: str) -> str:
        return ask(client, text)

    assert bench.run(body, "hello") == body("hello")
    assert bench.emulator.ledger()["lines_known"] == 1


def test_an_async_azure_client_is_captured(
    make_bench: Callable[..., Bench], emulator: Emulator, azure_key: str
) -> None:
    bench = make_bench(batchq_accounts=azure_accounts(emulator, api_version=API_VERSION))

    async def call(text: str) -> str:
        async with AsyncAzureOpenAI(
            azure_endpoint=emulator.root, api_version=API_VERSION
        ) as client:
            return await ask_async(client, text)

    @bench.task
    def body(text: str) -> str:
        return asyncio.run(call(text))

    assert bench.run(body, "hello") == body("hello")


def test_an_azure_deployment_decides_over_the_model_of_the_call(
    make_bench: Callable[..., Bench], emulator: Emulator, azure_key: str
) -> None:
    """With `azure_deployment=` Azure answers from that deployment, whatever `model=` says.

    The batch line went out with the word in `model=`, which may be no deployment at all.
    """
    bench = make_bench(batchq_accounts=azure_accounts(emulator, api_version=API_VERSION))
    client = azure_client(emulator, azure_deployment="our-batch-deployment")

    @bench.task
    def body(text: str) -> str:
        return ask(client, text)

    bench.ask(body, "hello")
    assert [lane.lane.model for lane in bench.journal.lanes.all()] == ["our-batch-deployment"]


def test_azure_by_the_openai_client_is_captured(
    make_bench: Callable[..., Bench], emulator: Emulator, azure_key: str
) -> None:
    bench = make_bench(batchq_accounts=azure_accounts(emulator))
    client = OpenAI(base_url=f"{emulator.root}/openai/v1/", api_key=azure_key)

    @bench.task
    def body(text: str) -> str:
        return ask(client, text)

    assert bench.run(body, "hello") == body("hello")
    assert bench.emulator.ledger()["lines_known"] == 1


def lanes_of(bench: Bench) -> list[Any]:
    return [record.lane for record in bench.journal.lanes.all()]


def test_a_proxy_that_is_configured_as_an_account_is_captured(
    make_bench: Callable[..., Bench], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy has a base path of its own; a batch line has the provider's."""
    monkeypatch.setenv("PROXY_KEY", "sk-proxy")
    proxy = f"{emulator.root}/openai/v1"
    accounts = {"default": {}, "proxy": {"base_url": proxy, "api_key": "env:PROXY_KEY"}}
    bench = make_bench(batchq_accounts=accounts)
    client = OpenAI(base_url=proxy, api_key="sk-proxy")

    @bench.task
    def body(text: str) -> str:
        return ask(client, text)

    bench.ask(body, "hello")
    assert [(lane.account, lane.endpoint) for lane in lanes_of(bench)] == [
        ("proxy", "/v1/chat/completions")
    ]
    assert bench.run(body, "hello") == body("hello")


def test_two_accounts_with_one_base_url_are_told_apart_by_their_keys(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_KEY", "sk-second")
    bench = make_bench(batchq_accounts={"first": {}, "second": {"api_key": "env:SECOND_KEY"}})

    @bench.task
    def body(key: str) -> str:
        return ask(OpenAI(api_key=key), "hello")

    bench.ask(body, API_KEY)
    bench.ask(body, "sk-second")
    assert {lane.account for lane in lanes_of(bench)} == {"first", "second"}


# No socket


@pytest.fixture
def nobody() -> Iterator[socket.socket]:
    """A port that takes connections and counts them: whoever connects can be accepted later."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        yield listener


def test_a_captured_call_opens_no_socket(
    make_bench: Callable[..., Bench], nobody: socket.socket
) -> None:
    """Neither when it is asked nor when it is answered: a worker may be cut off from the API."""
    base_url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
    bench = make_bench(batchq_accounts={"default": {"base_url": base_url}})
    client = OpenAI(base_url=base_url)

    async def call(text: str) -> str:
        async with AsyncOpenAI(base_url=base_url) as async_client:
            return await ask_async(async_client, text)

    @bench.task
    def body(text: str) -> list[str]:
        return [ask(client, text), asyncio.run(call(text))]

    result = bench.ask(body, "hello")
    for number in range(2):
        lane = bench.journal.lanes.all()[0].lane
        completion = b'{"choices": [{"message": {"content": "%d"}}]}' % number
        outcome = Outcome(status_code=200, body=completion)
        answer(bench.app, lane, [(f"{result.id}-{number}", outcome)])
        bench.deliver()
    assert result.result == ["0", "1"]
    with pytest.raises(BlockingIOError):
        nobody.accept()


# Nothing is touched elsewhere


def test_outside_a_batched_body_calls_go_live(bench: Bench) -> None:
    @bench.task
    def body(text: str) -> str:
        return ask(before_any_task, text)

    @bench.app.task(shared=False)
    def plain(text: str) -> str:
        return ask(before_any_task, text)

    ask(before_any_task, "a call of a script")
    body("a call of the decorated function")
    body.apply(("eagerly",))
    assert bench.run(plain, "a plain task")
    result = bench.send(body, "sent live", headers={"batchq": "live"})
    bench.deliver()
    assert result.state == "SUCCESS"
    assert bench.emulator.ledger()["live_calls"] == 5
    assert bench.waiting() == 0


def test_other_requests_of_a_batched_body_go_out(bench: Bench) -> None:
    """Only calls of the openai SDK are captured; a body may fetch what it asks about."""

    @bench.task
    def body() -> str:
        found = httpx.get(f"{bench.emulator.root}/emulator/health").raise_for_status()
        return ask(before_any_task, str(found.status_code))

    assert bench.run(body)


def test_a_request_that_a_tracing_tool_has_marked_is_captured(bench: Bench) -> None:
    """Datadog, New Relic and others write headers into each request for the next hop to read.

    Here no hop follows; the call was refused as one with headers that no batch line carries.
    """
    marks = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "x-datadog-trace-id": "1",
        "x-datadog-sampling-priority": "1",
        "newrelic": "e30=",
        "elastic-apm-traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "b3": "0",
        "x-b3-traceid": "463ac35c9f6413ad",
        "uber-trace-id": "1:1:0:1",
        "x-amzn-trace-id": "Root=1-67891233-abcdef012345678912345678",
        "x-cloud-trace-context": "105445aa7843bc8bf206b12000100000/1;o=1",
    }

    @bench.task
    def body(text: str) -> str:
        return ask(before_any_task, text, extra_headers=marks)

    assert bench.run(body, "hello")


def test_the_questions_own_text_is_what_the_sdk_would_have_sent(bench: Bench) -> None:
    odd = 'line\u2028separator\u2029 \x85 "quotes" \\ 🙂 é \x00'

    @bench.task
    def body() -> str:
        completion = before_any_task.chat.completions.create(
            model=MODEL, messages=user(odd), temperature=0.1, seed=2**53 + 1
        )
        return completion.choices[0].message.content or ""

    assert bench.run(body) == body()
