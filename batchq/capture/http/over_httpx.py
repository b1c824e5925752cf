"""The hook on httpx and httpx2, which the SDK speaks (httpx2 for 3.x, httpx for 2.x).

A call is answered where its client sends it. Where the client has a layer of its own, that layer
is run, and the call is answered where it leaves: at httpx's own transport.
"""

from __future__ import annotations

import functools
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from batchq.capture.http.asking import refuse, tell_once
from batchq.capture.http.calls import Call, sight
from batchq.capture.http.httpx_answers import (
    Send,
    answered,
    answered_async,
    finished,
    hide_secrets,
    unread,
)
from batchq.capture.http.layers import Layer, family_of, layer_of
from batchq.capture.http.passages import Passage, is_decided, passing, say_reached, streams_live
from batchq.capture.http.replays import REPLAY
from batchq.capture.http.seats import seat
from batchq.capture.run import goes_live

__all__ = ["hook_httpx"]


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
            return answered(call, request, go, finished, streams=streams)
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
            return await answered_async(call, request, go, finished, streams=streams)
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
        hide_secrets(response.request)
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
        return answered(call, request, go, unread, streams=streams_live())

    return hooked


def _hooked_async_leave(handle_request: Send) -> Send:
    @functools.wraps(handle_request)
    async def hooked(transport: Any, request: Any) -> Any:
        say_reached()
        call = _sight(request)
        if call is None:
            return await handle_request(transport, request)
        go = functools.partial(handle_request, transport, request)
        return await answered_async(call, request, go, unread, streams=streams_live())

    return hooked
