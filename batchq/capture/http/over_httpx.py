"""The hook on httpx and httpx2, which the SDK speaks (httpx2 for 3.x, httpx for 2.x).

A call is answered where its client sends it. Where the client has a layer of its own, that layer
is run, and the call is answered where it leaves: at httpx's own transport.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from batchq.capture.http.asking import ask, recalled, refuse, tell_once
from batchq.capture.http.calls import Call, reads, sight
from batchq.capture.http.layers import Layer, family_of, layer_of
from batchq.capture.http.lull import let_others_ask
from batchq.capture.http.passages import (
    Passage,
    decided,
    is_decided,
    passing,
    say_reached,
    streams_live,
)
from batchq.capture.http.replays import REPLAY, Replay, replay_of
from batchq.capture.http.seats import seat
from batchq.capture.run import Captured, Question, goes_live
from batchq.prompt import Outcome

__all__ = ["hook_httpx", "replayed_response"]

Send = Callable[..., Any]
Respond = Callable[[Any, Replay], Any]


def hook_httpx() -> None:
    for family in ("httpx2", "httpx"):
        if find_spec(family) is not None:
            module = import_module(family)
            seat(module.Client, "send", _hooked_send)
            seat(module.AsyncClient, "send", _hooked_async_send)
            seat(module.HTTPTransport, "handle_request", _hooked_leave)
            seat(module.AsyncHTTPTransport, "handle_async_request", _hooked_async_leave)


# Where a client sends


def _hooked_send(send: Send) -> Send:
    @functools.wraps(send)
    def hooked(client: Any, request: Any, **options: Any) -> Any:
        call = _sight(request)
        if call is None:
            return send(client, request, **options)
        go = functools.partial(send, client, request, **options)
        layer = _layer(call, client, request, options)
        streams = bool(options.get("stream"))
        if layer is None:
            return _answered(call, request, go, _finished, streams=streams)
        with passing(streams=streams, headers=request.headers) as passage:
            return _passed(call, layer, passage, go())

    return hooked


def _hooked_async_send(send: Send) -> Send:
    @functools.wraps(send)
    async def hooked(client: Any, request: Any, **options: Any) -> Any:
        call = _sight(request)
        if call is None:
            return await send(client, request, **options)
        go = functools.partial(send, client, request, **options)
        layer = _layer(call, client, request, options)
        streams = bool(options.get("stream"))
        if layer is None:
            return await _answered_async(call, request, go, _finished, streams=streams)
        with passing(streams=streams, headers=request.headers) as passage:
            return _passed(call, layer, passage, await go())

    return hooked


def _sight(request: Any) -> Call | None:
    call = sight(request.method, request.url, request.headers)
    return None if call is None or is_decided() else call


def _layer(call: Call, client: Any, request: Any, options: dict[str, Any]) -> Layer | None:
    """The layer to run this call through. Refuses a call whose layer hides where it goes."""
    auth = options.get("auth", family_of(request).USE_CLIENT_DEFAULT)
    layer = layer_of(client, request, auth) if call.is_ours else None
    if layer is None or layer.refusal is None:
        return layer
    if not goes_live():
        refuse(call, layer.refusal)
    return None


def _passed(call: Call, layer: Layer, passage: Passage, response: Any) -> Any:
    if REPLAY in response.headers:
        _hide_secrets(response.request)
    if not passage.reached:
        words = (
            f"{call.words} in task {call.run.task_name} was answered by its client's own transport "
            f"{layer.transport}: nothing of it was batched, and nothing was sent by httpx"
        )
        tell_once(call.run, layer.transport, words)
    return response


# Where a request leaves


def _hooked_leave(handle_request: Send) -> Send:
    @functools.wraps(handle_request)
    def hooked(transport: Any, request: Any) -> Any:
        say_reached()
        call = _sight(request)
        if call is None:
            return handle_request(transport, request)
        go = functools.partial(handle_request, transport, request)
        return _answered(call, request, go, _unread, streams=streams_live())

    return hooked


def _hooked_async_leave(handle_request: Send) -> Send:
    @functools.wraps(handle_request)
    async def hooked(transport: Any, request: Any) -> Any:
        say_reached()
        call = _sight(request)
        if call is None:
            return await handle_request(transport, request)
        go = functools.partial(handle_request, transport, request)
        return await _answered_async(call, request, go, _unread, streams=streams_live())

    return hooked


# The answer


def _answered(call: Call, request: Any, go: Send, respond: Respond, *, streams: bool) -> Any:
    content = request.read() if reads(call) else b""
    if not goes_live():
        outcome = ask(call, content)
        if outcome is None:
            return go()
        return replayed_response(request, replay_of(outcome, call, content), respond)
    question, recorded = recalled(call, content, streams=streams)
    if recorded is not None:
        return replayed_response(request, replay_of(recorded), respond)
    with decided():
        response = go()
    if question is None or not response.is_success:
        return response
    response.read()
    return _recorded(call, question, request, response, respond)


async def _answered_async(
    call: Call, request: Any, go: Send, respond: Respond, *, streams: bool
) -> Any:
    content = await request.aread() if reads(call) else b""
    if not goes_live():
        try:
            outcome = ask(call, content)
        except Captured:
            await let_others_ask(call.run)
            raise
        if outcome is None:
            return await go()
        return replayed_response(request, replay_of(outcome, call, content), respond)
    question, recorded = recalled(call, content, streams=streams)
    if recorded is not None:
        return replayed_response(request, replay_of(recorded), respond)
    with decided():
        response = await go()
    if question is None or not response.is_success:
        return response
    await response.aread()
    return _recorded(call, question, request, response, respond)


def _recorded(call: Call, question: Question, request: Any, response: Any, respond: Respond) -> Any:
    """A live answer, once it is written down."""
    request_id = response.headers.get("x-request-id", "")
    status, body = response.status_code, response.content
    call.run.record(question, Outcome(status_code=status, body=body, request_id=request_id))
    if respond is _finished:
        return response
    # The layers above take it from here as it comes from the network: nobody has read it yet.
    headers = {name: value for name, value in response.headers.items() if name not in _OF_THE_HOP}
    return respond(request, Replay(status_code=status, headers=headers, body=body))


_OF_THE_HOP = frozenset({"content-encoding", "content-length", "transfer-encoding"})


def replayed_response(request: Any, replay: Replay, respond: Respond | None = None) -> Any:
    """The replay as the response that the SDK waits for."""
    _hide_secrets(request)
    return (_finished if respond is None else respond)(request, replay)


def _finished(request: Any, replay: Replay) -> Any:
    """The replay as a client gives it to its caller, in the family its request is of."""
    response = family_of(request).Response(
        replay.status_code, headers=replay.headers, content=replay.body, request=request
    )
    response.elapsed = timedelta(0)
    return response


def _unread(request: Any, replay: Replay) -> Any:
    """The replay as a transport gives it to its client."""
    family = family_of(request)
    length = {"content-length": str(len(replay.body))}
    return family.Response(
        replay.status_code,
        headers={**replay.headers, **length},
        stream=family.ByteStream(replay.body),
    )


_SECRET = frozenset({"authorization", "api-key"})


def _hide_secrets(request: Any) -> None:
    """The SDK's errors carry their request, and trackers of errors send it on with its headers."""
    for header in _SECRET.intersection(request.headers):
        request.headers[header] = "kept out by batchq"
