"""A client's own HTTP layer was passed over: what a redacting transport takes out was in the batch.

Event hooks, an auth and a transport see a captured call as they see any other, on its way out and
on its way back; where nobody can tell what a transport does, the call is refused in words.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

import batchq
from batchq import NotBatchable
from tests.capture.bench import MODEL, Bench, ask, ask_async, user
from tests.harness import API_KEY

SDKS: Any = import_module("httpx2" if find_spec("httpx2") else "httpx")
"""The family that the SDK itself speaks: httpx2 for openai 3."""


def redacted(request: Any) -> Any:
    """A request of the same family, without the secret."""
    content = request.read().replace(b"my SECRET", b"[taken out]")
    headers = {k: v for k, v in request.headers.items() if k != "content-length"}
    return type(request)(request.method, request.url, headers=headers, content=content)


class Redacting(SDKS.BaseTransport):  # type: ignore[misc]
    """A security control, as teams have it: it hands on to another transport."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def handle_request(self, request: Any) -> Any:
        response = self.inner.handle_request(redacted(request))
        response.headers["x-seen"] = "on its way back"
        return response


class AsyncRedacting(SDKS.AsyncBaseTransport):  # type: ignore[misc]
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def handle_async_request(self, request: Any) -> Any:
        await request.aread()
        return await self.inner.handle_async_request(redacted(request))


class RedactingItself(SDKS.HTTPTransport):  # type: ignore[misc]
    """The same, as a subclass of httpx's own."""

    def handle_request(self, request: Any) -> Any:
        return super().handle_request(redacted(request))


class ByFunction(SDKS.BaseTransport):  # type: ignore[misc]
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def handle_request(self, request: Any) -> Any:
        return self._function(request)


class InTurn(SDKS.BaseTransport):  # type: ignore[misc]
    """Holds several, as those do that spread requests over routes."""

    def __init__(self, *inner: Any) -> None:
        self._routes = {"all": list(inner)}

    def handle_request(self, request: Any) -> Any:
        self._routes["all"].append(self._routes["all"].pop(0))
        return self._routes["all"][0].handle_request(redacted(request))


def by_function() -> Any:
    inner = SDKS.HTTPTransport()
    return ByFunction(lambda request: inner.handle_request(redacted(request)))


def by_another_client() -> Any:
    client = SDKS.Client()
    return ByFunction(lambda request: client.send(redacted(request)))


def by_a_part() -> Any:
    return ByFunction(functools.partial(Redacting.handle_request, Redacting(SDKS.HTTPTransport())))


def patched() -> Any:
    """One of httpx's own, of which somebody has replaced the method."""
    transport = SDKS.HTTPTransport()
    hand_on = transport.handle_request
    transport.handle_request = lambda request: hand_on(redacted(request))
    return transport


HANDING_ON: dict[str, Callable[[], Any]] = {
    "holds one": lambda: Redacting(SDKS.HTTPTransport()),
    "holds one that holds one": lambda: Redacting(Redacting(SDKS.HTTPTransport())),
    "is a subclass": RedactingItself,
    "holds a function": by_function,
    "holds a client": by_another_client,
    "holds a part": by_a_part,
    "was patched": patched,
    "holds several": lambda: InTurn(SDKS.HTTPTransport(), SDKS.HTTPTransport()),
}


def client_with(**layer: Any) -> OpenAI:
    return OpenAI(http_client=SDKS.Client(**layer))


def uploaded(bench: Bench) -> str:
    """All that lies at the provider, files that were deleted excepted."""
    with batchq.live():
        client = OpenAI()
        return "".join(client.files.content(each.id).text for each in client.files.list())


@pytest.mark.parametrize("name", HANDING_ON)
def test_a_transport_that_hands_on_is_run(make_bench: Callable[..., Bench], name: str) -> None:
    bench = make_bench(batchq_delete_files=False)
    client = client_with(transport=HANDING_ON[name]())

    @bench.task
    def body() -> str:
        return ask(client, "this is my SECRET")

    assert bench.run(body) == ask(OpenAI(), "this is [taken out]")
    sent = uploaded(bench)
    assert "[taken out]" in sent
    assert "SECRET" not in sent
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["live_calls"]) == (1, 1)


def test_a_mounted_transport_is_run(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(batchq_delete_files=False)
    client = client_with(mounts={"http://": Redacting(SDKS.HTTPTransport())})

    @bench.task
    def body() -> str:
        return ask(client, "this is my SECRET")

    bench.run(body)
    assert "SECRET" not in uploaded(bench)


def test_an_async_transport_that_hands_on_is_run(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(batchq_delete_files=False)

    async def call() -> list[str]:
        transport = AsyncRedacting(SDKS.AsyncHTTPTransport())
        async with AsyncOpenAI(http_client=SDKS.AsyncClient(transport=transport)) as client:
            texts = ("one: my SECRET", "two: my SECRET")
            return await asyncio.gather(*(ask_async(client, text) for text in texts))

    @bench.task
    def body() -> list[str]:
        return asyncio.run(call())

    assert len(set(bench.run(body))) == 2
    assert "SECRET" not in uploaded(bench)
    # They shared a round.
    assert bench.emulator.ledger()["batches_created"] == 1


def test_a_transport_sees_the_answer(bench: Bench) -> None:
    client = client_with(transport=Redacting(SDKS.HTTPTransport()))

    @bench.task
    def body() -> list[str]:
        raw = client.embeddings.with_raw_response.create(model="text-embedding-3-small", input="a")
        return [raw.headers["x-seen"], raw.headers["x-batchq-replay"]]

    assert bench.run(body) == ["on its way back", "true"]


def test_a_stream_goes_through_a_transport(bench: Bench) -> None:
    client = client_with(transport=Redacting(SDKS.HTTPTransport()))

    async def call() -> str:
        transport = AsyncRedacting(SDKS.AsyncHTTPTransport())
        async with AsyncOpenAI(http_client=SDKS.AsyncClient(transport=transport)) as one:
            stream = await one.chat.completions.create(
                model=MODEL, messages=user("async SECRET"), stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    @bench.task
    def body() -> list[str]:
        stream = client.chat.completions.create(
            model=MODEL, messages=user("my SECRET"), stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        return [text, asyncio.run(call())]

    first, second = bench.run(body)
    assert first == ask(OpenAI(), "[taken out]")
    assert second == ask(OpenAI(), "async SECRET")
    assert bench.emulator.ledger()["lines_known"] == 2


# Event hooks


def test_event_hooks_are_run(bench: Bench) -> None:
    seen: list[str] = []
    hooks = {
        "request": [lambda request: seen.append(f"request {request.url.path}")],
        "response": [lambda response: seen.append(f"response {response.status_code}")],
    }
    client = client_with(event_hooks=hooks)

    @bench.task
    def body() -> str:
        return ask(client, "hello")

    assert bench.run(body)
    path = "/v1/chat/completions"
    assert seen == [f"request {path}", f"request {path}", "response 200"]
    assert bench.emulator.ledger()["live_calls"] == 0


def test_async_event_hooks_are_run(bench: Bench) -> None:
    seen: list[int] = []

    async def heard(response: Any) -> None:
        await response.aread()
        seen.append(response.status_code)

    async def call() -> str:
        http = SDKS.AsyncClient(event_hooks={"response": [heard]})
        async with AsyncOpenAI(http_client=http) as client:
            return await ask_async(client, "hello")

    @bench.task
    def body() -> str:
        return asyncio.run(call())

    assert bench.run(body)
    assert seen == [200]


def test_a_hook_that_adds_a_header_is_seen(bench: Bench) -> None:
    def add(request: Any) -> None:
        request.headers["x-tenant"] = "blue"

    client = client_with(event_hooks={"request": [add]})

    @bench.task
    def body() -> None:
        ask(client, "hello")

    with pytest.raises(NotBatchable, match="x-tenant"):
        bench.run(body)


def test_a_hook_that_refuses_a_request_ends_it(bench: Bench) -> None:
    def refuse(request: Any) -> None:
        raise PermissionError(f"nothing goes to {request.url.host}")

    client = OpenAI(http_client=SDKS.Client(event_hooks={"request": [refuse]}), max_retries=0)

    @bench.task
    def body() -> None:
        ask(client, "hello")

    with pytest.raises(Exception, match=r"nothing goes to|Connection error"):
        bench.run(body)
    assert bench.waiting() == 0


# Auth


class Bearer(SDKS.Auth):  # type: ignore[misc]
    """Fetches the key at each call, as those of vaults and identity providers do."""

    def auth_flow(self, request: Any) -> Generator[Any, Any]:
        request.headers["Authorization"] = f"Bearer {API_KEY}"
        response = yield request
        assert response.status_code == 200


class AsyncBearer(SDKS.Auth):  # type: ignore[misc]
    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        request.headers["Authorization"] = f"Bearer {API_KEY}"
        yield request


class Signing(SDKS.Auth):  # type: ignore[misc]
    def auth_flow(self, request: Any) -> Generator[Any, Any]:
        request.headers["x-signature"] = "of this request"
        yield request


def test_an_auth_is_run(bench: Bench) -> None:
    client = OpenAI(api_key="left-empty", http_client=SDKS.Client(auth=Bearer()))

    @bench.task
    def body() -> str:
        return ask(client, "hello")

    assert bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 1


def test_an_async_auth_is_run(bench: Bench) -> None:
    async def call() -> str:
        http = SDKS.AsyncClient(auth=AsyncBearer())
        async with AsyncOpenAI(api_key="left-empty", http_client=http) as client:
            return await ask_async(client, "hello")

    @bench.task
    def body() -> str:
        return asyncio.run(call())

    assert bench.run(body)


def test_what_an_auth_adds_is_refused_by_its_name(bench: Bench) -> None:
    client = client_with(auth=Signing())

    @bench.task
    def body() -> None:
        ask(client, "hello")

    with pytest.raises(NotBatchable, match="x-signature"):
        bench.run(body)


# Transports that hand on to nobody we know


class Unknown(SDKS.BaseTransport):  # type: ignore[misc]
    """It could be curl, or a cache, or a canned answer: nobody can tell from outside."""

    def handle_request(self, request: Any) -> Any:
        raise AssertionError(f"it was run for {request}")


class AsyncUnknown(SDKS.AsyncBaseTransport):  # type: ignore[misc]
    async def handle_async_request(self, request: Any) -> Any:
        raise AssertionError(f"it was run for {request}")


def test_an_unknown_transport_is_refused_by_its_name(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def call() -> None:
        http = SDKS.AsyncClient(transport=AsyncUnknown())
        async with AsyncOpenAI(http_client=http) as client:
            await ask_async(client, "hello")

    @bench.task
    def body() -> None:
        with pytest.raises(NotBatchable, match="AsyncUnknown"):
            asyncio.run(call())
        ask(client_with(transport=Redacting(Unknown())), "hello")

    with (
        caplog.at_level(logging.WARNING, logger="batchq.capture"),
        pytest.raises(NotBatchable, match=r"transport .*Redacting.* none of httpx's own"),
    ):
        bench.run(body)
    assert bench.waiting() == 0
    told = [each.getMessage() for each in caplog.records if each.name == "batchq.capture"]
    assert [body.name in each for each in told] == [True, True]


def test_an_unknown_transport_may_send_anything_else(bench: Bench) -> None:
    class Elsewhere(SDKS.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            return SDKS.Response(200, json={"host": request.url.host})

    @bench.task
    def body() -> str:
        with SDKS.Client(transport=Elsewhere()) as http:
            found = http.post("https://crm.example.com/tickets", json={"id": 1}).json()
        return ask(OpenAI(), str(found))

    assert bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 1


CANNED = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "canned"},
        }
    ],
}


def test_an_answer_that_httpx_makes_itself_is_given_and_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A MockTransport, or an ASGI or WSGI app in this process: nothing is sent, nothing costs."""
    answers = SDKS.MockTransport(lambda _: SDKS.Response(200, json=CANNED))
    client = client_with(transport=answers)

    @bench.task
    def body() -> list[str]:
        return [ask(client, "one"), ask(client, "two")]

    result = bench.send(body)
    with caplog.at_level(logging.WARNING, logger="batchq.capture"):
        bench.deliver()
    assert result.result == ["canned", "canned"]
    (told,) = caplog.records
    assert "MockTransport" in told.getMessage()
    assert bench.waiting() == 0


class Caching(Redacting):
    """Answers by itself what it has answered before."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.kept: dict[bytes, bytes] = {}

    def handle_request(self, request: Any) -> Any:
        key = request.read()
        if key not in self.kept:
            self.kept[key] = super().handle_request(request).read()
        return SDKS.Response(
            200, content=self.kept[key], headers={"content-type": "application/json"}
        )


def test_a_cache_keeps_a_batched_answer(bench: Bench) -> None:
    client = client_with(transport=Caching(SDKS.HTTPTransport()))

    @bench.task
    def body() -> str:
        return ask(client, "hello")

    assert bench.run(body) == bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 1


# Live


@pytest.mark.parametrize("name", HANDING_ON)
def test_a_live_call_through_a_layer_is_journaled(bench: Bench, name: str) -> None:
    client = client_with(transport=HANDING_ON[name]())

    @bench.task
    def body() -> list[str]:
        with batchq.live():
            first = ask(client, "live: my SECRET")
        return [first, ask(client, first)]

    first, _ = bench.run(body)
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["live_calls"]) == (1, 1)
    assert "SECRET" not in first


def test_what_a_transport_got_carries_no_key_on(bench: Bench) -> None:
    """The SDK's errors hold the response, and that its request."""
    import openai

    client = client_with(transport=Redacting(SDKS.HTTPTransport()))

    @bench.task
    def body() -> str:
        try:
            client.chat.completions.create(model="gpt-5.6-luna", messages=[])
        except openai.BadRequestError as error:
            return repr(error.request.headers) + repr(error.response.request.headers)
        return ""

    shown = bench.run(body)
    assert shown
    assert API_KEY not in shown
