"""Calls that do not bear the SDK's headers went live in silence, to the very account that is set.

Libraries that speak HTTP by themselves, copies of the SDK, headers stripped for a firewall: a call
is known by where it goes, whoever sends it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import aiohttp
import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

import batchq
from batchq import NotBatchable, UnknownAccount
from tests.capture.bench import MODEL, Bench, ask, user
from tests.harness import API_KEY, Emulator

# httpx2 comes with openai 3.
FAMILIES: list[Any] = [import_module(name) for name in ("httpx", "httpx2") if find_spec(name)]
KEY = {"Authorization": f"Bearer {API_KEY}"}


def question(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": user(text), **more}


def content(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


@pytest.fixture
def url(emulator: Emulator) -> str:
    return f"{emulator.url}/chat/completions"


def once_captured(bench: Bench, body: Callable[[], Any]) -> Any:
    """What the body returns, captured: one line, and nothing live."""

    @bench.task
    def asks() -> Any:
        return body()

    result = bench.run(asks)
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["live_calls"]) == (1, 0)
    return result


# Whoever sends it


def without_stainless() -> OpenAI:
    """A client whose owner strips what their firewall does not know."""
    from openai import Omit

    headers: Any = {"X-Stainless-Lang": Omit(), "X-Stainless-Package-Version": "9"}
    return OpenAI(default_headers=headers)


def test_a_client_of_the_sdk_without_its_headers(bench: Bench) -> None:
    assert once_captured(bench, lambda: ask(without_stainless(), "hello"))


def posted(family: Any, url: str) -> str:
    return content(family.post(url, json=question(), headers=KEY).raise_for_status().json())


def posted_as_text(family: Any, url: str) -> str:
    """Without a content type: it is where it goes that counts."""
    with family.Client(headers=KEY) as client:
        return content(client.post(url, content=json.dumps(question())).json())


def posted_in_pieces(family: Any, url: str) -> str:
    def pieces() -> Iterator[bytes]:
        yield from (bytes([byte]) for byte in json.dumps(question()).encode())

    with family.Client(headers=KEY) as client, client.stream("POST", url, content=pieces()) as got:
        return content(json.loads(b"".join(got.iter_bytes())))


def posted_async(family: Any, url: str) -> str:
    async def called() -> str:
        async with family.AsyncClient(headers=KEY) as client:
            return content((await client.post(url, json=question())).json())

    return asyncio.run(called())


def posted_by_the_transport(family: Any, url: str) -> str:
    request = family.Request("POST", url, json=question(), headers=KEY)
    with family.HTTPTransport() as transport:
        response = transport.handle_request(request)
        return content(json.loads(response.read()))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize(
    "post", [posted, posted_as_text, posted_in_pieces, posted_async, posted_by_the_transport]
)
def test_a_plain_request(bench: Bench, url: str, post: Callable[..., str], family: Any) -> None:
    assert once_captured(bench, lambda: post(family, url))


def test_a_plain_stream(bench: Bench, url: str) -> None:
    def body() -> str:
        sent = question(stream=True)
        text = ""
        with httpx.stream("POST", url, json=sent, headers=KEY) as got:
            for line in got.iter_lines():
                if line.startswith("data: {"):
                    delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"]
                    text += delta.get("content") or ""
        return text

    assert once_captured(bench, body)


def test_a_request_without_a_key_is_that_of_the_only_account(bench: Bench, url: str) -> None:
    assert once_captured(bench, lambda: content(httpx.post(url, json=question()).json()))


def test_a_request_with_a_strange_key_belongs_to_nobody(
    make_bench: Callable[..., Bench], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where several accounts have its base URL; where one has, the key may be a new one of it."""
    monkeypatch.setenv("SECOND_KEY", "sk-second")
    bench = make_bench(batchq_accounts={"first": {}, "second": {"api_key": "env:SECOND_KEY"}})

    @bench.task
    def body() -> None:
        httpx.post(url, json=question(), headers={"Authorization": "Bearer sk-strange"})

    with pytest.raises(UnknownAccount):
        bench.run(body)
    assert bench.emulator.ledger()["live_calls"] == 0


def test_plain_requests_go_out_elsewhere(bench: Bench, url: str) -> None:
    """Outside a batched body, and within one for what the user sends live."""

    @bench.task
    def body() -> str:
        with batchq.live():
            return posted(httpx, url)

    posted(httpx, url)
    result = bench.send(body)
    bench.deliver()
    assert result.state == "SUCCESS"
    assert bench.emulator.ledger()["live_calls"] == 2


def test_a_plain_live_call_is_journaled(bench: Bench, url: str) -> None:
    @bench.task
    def body() -> list[str]:
        with batchq.live():
            first = posted(httpx, url)
        return [first, ask(OpenAI(), first)]

    assert bench.run(body)
    assert bench.emulator.ledger()["live_calls"] == 1


# aiohttp


async def by_aiohttp(url: str, **options: Any) -> str:
    async with (
        aiohttp.ClientSession(headers=KEY) as session,
        session.post(url, **{"json": question(), **options}) as got,
    ):
        assert got.status == 200
        assert got.ok
        assert "application/json" in got.headers["Content-Type"]
        assert (got.method, str(got.url)) == ("POST", url)
        return content(await got.json())


async def by_aiohttp_as_text(url: str) -> str:
    async with aiohttp.ClientSession(headers=KEY) as session:
        got = await session.request("post", url, data=json.dumps(question()))
        got.raise_for_status()
        read, text = await got.read(), await got.text()
        assert json.loads(read) == json.loads(text)
        return content(json.loads(read))


async def by_aiohttp_in_pieces(url: str) -> str:
    async with (
        aiohttp.ClientSession(url.removesuffix("chat/completions"), headers=KEY) as session,
        session.post("chat/completions", json=question()) as got,
    ):
        pieces = [piece async for piece in got.content.iter_chunked(7)]
        assert len(pieces) > 1
        return content(json.loads(b"".join(pieces)))


@pytest.mark.parametrize("call", [by_aiohttp, by_aiohttp_as_text, by_aiohttp_in_pieces])
def test_a_request_of_aiohttp(bench: Bench, url: str, call: Callable[..., Any]) -> None:
    assert once_captured(bench, lambda: asyncio.run(call(url)))


def test_requests_of_aiohttp_share_a_round(bench: Bench, url: str) -> None:
    async def three() -> list[str]:
        texts = ("one", "two", "three")
        return await asyncio.gather(*(by_aiohttp(url, json=question(text)) for text in texts))

    @bench.task
    def body() -> list[str]:
        return asyncio.run(three())

    result = bench.ask(body)
    assert bench.waiting() == 3
    bench.answer()
    bench.deliver()
    assert len(set(result.result)) == 3
    assert bench.emulator.ledger()["batches_created"] == 1


def test_an_error_arrives_over_aiohttp(bench: Bench, url: str) -> None:
    async def called() -> tuple[int, str]:
        with pytest.raises(aiohttp.ClientResponseError) as raised:
            async with aiohttp.ClientSession(headers=KEY, raise_for_status=True) as session:
                await session.post(url, json=question(messages=[]))
        assert API_KEY not in str(raised.value.request_info.headers)
        return raised.value.status, raised.value.message

    assert once_captured(bench, lambda: asyncio.run(called()))[0] == 400


def test_a_live_call_of_aiohttp_is_journaled(bench: Bench, url: str) -> None:
    @bench.task
    def body() -> list[str]:
        with batchq.live():
            first = [asyncio.run(call(url)) for call in (by_aiohttp, by_aiohttp_in_pieces)]
        return [*first, ask(OpenAI(), first[0])]

    assert bench.run(body)
    assert bench.emulator.ledger()["live_calls"] == 2


def test_httpx_over_aiohttp(bench: Bench, url: str) -> None:
    """The SDK's own client for it, and whoever puts that transport below httpx."""
    from httpx_aiohttp import HttpxAiohttpClient

    async def called() -> str:
        async with HttpxAiohttpClient(headers=KEY) as client:
            return content((await client.post(url, json=question())).json())

    assert once_captured(bench, lambda: asyncio.run(called()))


def test_aiohttp_is_hooked_when_a_body_imports_it() -> None:
    """It is large, so a hook does not load it; whoever loads it later is hooked all the same."""
    code = (
        "import sys; from batchq.capture.http import install_hook; install_hook()\n"
        "loaded = [m for m in ('aiohttp', 'websockets') if m in sys.modules]\n"
        "import aiohttp, websockets.sync.client, websockets.asyncio.client as client\n"
        "print(loaded, hasattr(aiohttp.ClientSession._request, '__batchq__'),\n"
        "      hasattr(websockets.sync.client.connect, '__batchq__'),\n"
        "      hasattr(client.connect.__init__, '__batchq__'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True True True"


# What has no batch


def refused(bench: Bench, call: Callable[[], Any], words: str) -> None:
    @bench.task
    def body() -> None:
        call()

    with pytest.raises(NotBatchable, match=words):
        bench.run(body)
    assert bench.waiting() == 0
    assert bench.emulator.ledger()["live_calls"] == 0


def test_a_model_that_has_no_batch_is_not_asked_live(bench: Bench, emulator: Emulator) -> None:
    speech = {"model": "tts-1", "input": "a", "voice": "alloy"}
    url = f"{emulator.url}/audio"
    refused(bench, lambda: httpx.post(f"{url}/speech", json=speech, headers=KEY), "no batch")
    upload: Any = {"files": {"file": ("a.wav", b"RIFF")}, "data": {"model": "whisper-1"}}
    refused(bench, lambda: httpx.post(f"{url}/transcriptions", headers=KEY, **upload), "no batch")


def test_what_asks_no_model_goes_out(bench: Bench, emulator: Emulator) -> None:
    """Files and models are listed, and files put up, as by any program."""

    @bench.task
    def body() -> list[int]:
        lists = [httpx.get(f"{emulator.url}/{what}", headers=KEY) for what in ("files", "models")]
        put = httpx.post(
            f"{emulator.url}/files",
            headers=KEY,
            data={"purpose": "batch"},
            files={"file": ("a.jsonl", b"{}\n")},
        )
        return [each.status_code for each in (*lists, put)]

    assert bench.run(body) == [200, 200, 200]


@pytest.fixture
def nobody() -> Iterator[socket.socket]:
    """A port that takes connections: whoever connects can be accepted later."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        yield listener


def at(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def in_a_session(which: Callable[[Any], Any], base_url: str) -> None:
    with which(OpenAI(base_url=base_url)):
        raise AssertionError("connected")


def in_an_async_session(which: Callable[[Any], Any], base_url: str) -> None:
    async def called() -> None:
        async with which(AsyncOpenAI(base_url=base_url)):
            raise AssertionError("connected")

    asyncio.run(called())


def by_websockets(_: Any, base_url: str) -> None:
    import websockets.sync.client

    with websockets.sync.client.connect(f"{base_url.replace('http', 'ws')}/realtime?model=a"):
        raise AssertionError("connected")


def by_aiohttps_socket(_: Any, base_url: str) -> None:
    async def called() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{base_url}/realtime"):
            raise AssertionError("connected")

    asyncio.run(called())


SESSIONS = {"realtime": lambda c: c.realtime.connect(model="gpt-realtime")}
if hasattr(OpenAI().responses, "connect"):
    SESSIONS["responses"] = lambda c: c.responses.connect()


@pytest.mark.parametrize("name", SESSIONS)
@pytest.mark.parametrize(
    "enter", [in_a_session, in_an_async_session, by_websockets, by_aiohttps_socket]
)
def test_a_session_with_a_model_has_no_batch(
    make_bench: Callable[..., Bench], nobody: socket.socket, name: str, enter: Callable[..., None]
) -> None:
    """It is a WebSocket, which no HTTP client sees; it is refused before it connects."""
    base_url = at(nobody)
    bench = make_bench(batchq_accounts={"default": {"base_url": base_url}})

    @bench.task
    def body() -> None:
        enter(SESSIONS[name], base_url)

    with pytest.raises(NotBatchable, match="no batch") as raised:
        bench.run(body)
    assert "with batchq.live()" in str(raised.value)
    with pytest.raises(BlockingIOError):
        nobody.accept()


def test_a_refusal_is_logged_once_for_each_task(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Libraries make their own errors of it, or go on to another model."""

    @bench.task
    def body() -> str:
        for _ in range(3):
            with pytest.raises(NotBatchable):
                OpenAI().audio.speech.create(model="tts-1", input="a", voice="alloy")
        return "went on"

    with caplog.at_level(logging.WARNING, logger="batchq"):
        assert bench.run(body) == bench.run(body) == "went on"
    (told,) = caplog.records
    assert "/v1/audio/speech" in told.getMessage()
    assert body.name in told.getMessage()
    assert told.__dict__["action"] == "capture"


# Other hosts


@pytest.fixture
def elsewhere(emulator: Emulator) -> str:
    """The same server under a name that no account has."""
    return emulator.url.replace("127.0.0.1", "localhost")


def test_a_model_elsewhere_is_asked_and_told_once(
    bench: Bench, elsewhere: str, caplog: pytest.LogCaptureFixture
) -> None:
    @bench.task
    def body() -> list[str]:
        return [
            content(httpx.post(f"{elsewhere}/chat/completions", json=sent, headers=KEY).json())
            for sent in (question("one"), question("two"))
        ]

    with caplog.at_level(logging.WARNING, logger="batchq"):
        assert bench.run(body)
        assert bench.run(body)
    assert bench.emulator.ledger()["live_calls"] == 4
    (told,) = caplog.records
    assert f"POST {elsewhere}/chat/completions" in told.getMessage()
    assert body.name in told.getMessage()
    assert "batchq_accounts" in told.getMessage()


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/messages", {"model": "m", "messages": []}),
        ("/openai/deployments/ours/chat/completions", {"messages": []}),
        ("/v1beta/models/m:generateContent", {"contents": []}),
        ("/api/chat", {"model": "m", "messages": []}),
    ],
)
def test_other_makers_models_are_told_too(
    bench: Bench, elsewhere: str, path: str, sent: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @bench.task
    def body() -> int:
        return httpx.post(elsewhere.removesuffix("/v1") + path, json=sent).status_code

    with caplog.at_level(logging.WARNING, logger="batchq"):
        assert bench.run(body) in {401, 404}
    (told,) = caplog.records
    assert path in told.getMessage()


def test_other_requests_elsewhere_are_not_told(
    bench: Bench, elsewhere: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = elsewhere.removesuffix("/v1")
    sent: list[Any] = [
        {"messages": ["a chat of ours"]},
        {"model": "Model T", "year": 1908},
        ["model"],
    ]

    @bench.task
    def body() -> None:
        for each in sent:
            httpx.post(f"{root}/cars/messages", json=each)
        httpx.get(f"{root}/emulator/health")

    with caplog.at_level(logging.WARNING, logger="batchq"):
        bench.run(body)
    assert caplog.records == []


def test_a_client_of_the_sdk_without_an_account_is_refused_as_before(
    bench: Bench, elsewhere: str
) -> None:
    @bench.task
    def body() -> None:
        ask(OpenAI(base_url=elsewhere), "hello")

    with pytest.raises(UnknownAccount):
        bench.run(body)


def test_other_threads_send_what_they_like(bench: Bench, elsewhere: str, url: str) -> None:
    """A thread that says nothing of its run may send anything but a question."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()

        def body() -> str:
            health = f"{elsewhere.removesuffix('/v1')}/emulator/health"
            pool.submit(httpx.get, health).result().raise_for_status()
            return posted(httpx, url)

        assert once_captured(bench, body)
