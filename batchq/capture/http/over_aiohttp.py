"""The hook on aiohttp, which some libraries speak beside httpx, or below it.

It is a middleware behind all others of the session, so it sees a request as it would leave.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from http import HTTPStatus
from types import ModuleType
from typing import Any

from batchq.capture.http.asking import ask, recalled, refuse
from batchq.capture.http.calls import Call, in_a_body, json_object, reads, sight
from batchq.capture.http.lull import let_others_ask
from batchq.capture.http.passages import is_decided, say_reached, streams_live
from batchq.capture.http.replays import Replay, replay_of
from batchq.capture.http.seats import seat, when_imported
from batchq.capture.run import Captured, Question, goes_live
from batchq.prompt import Outcome

__all__ = ["hook_aiohttp"]

Send = Callable[..., Any]


def hook_aiohttp() -> None:
    when_imported("aiohttp.client", _hook)


def _hook(module: ModuleType) -> None:
    seat(module.ClientSession, "_request", _hooked)


def _hooked(request: Send) -> Send:
    takes_middlewares = "middlewares" in inspect.signature(request).parameters

    @functools.wraps(request)
    async def hooked(session: Any, method: str, url: Any, **options: Any) -> Any:
        if not in_a_body() or is_decided():
            return await request(session, method, url, **options)
        if takes_middlewares:
            given = options.get("middlewares")
            own = session._middlewares if given is None else given
            options["middlewares"] = (*own, _middleware)
        else:
            _refuse_unseen(session, method, url, options)
        return await request(session, method, url, **options)

    return hooked


def _refuse_unseen(session: Any, method: str, url: Any, options: dict[str, Any]) -> None:
    """Aiohttp before 3.12 shows nobody the request as it leaves."""
    headers = _lower({**session.headers, **dict(options.get("headers") or {})})
    call = sight(method.upper(), session._build_url(url), headers)
    if call is not None and call.at_account and not goes_live():
        refuse(call, "it is made with aiohttp before 3.12, which lets nobody answer for it")


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()}


async def _middleware(request: Any, handler: Send) -> Any:
    say_reached()
    call = sight(request.method, request.url, _lower(request.headers))
    if call is None:
        return await handler(request)
    content = await _content(request) if reads(call) else b""
    if goes_live():
        return await _live(call, content, request, handler)
    try:
        outcome = ask(call, content)
    except Captured:
        await let_others_ask(call.run)
        raise
    if outcome is None:
        return await handler(request)
    return _replayed(request, replay_of(outcome, call, content))


async def _content(request: Any) -> bytes:
    body: Any = request.body
    if body is None or isinstance(body, bytes):
        return body or b""
    content: bytes = await body.as_bytes()
    return content


async def _live(call: Call, content: bytes, request: Any, handler: Send) -> Any:
    question, recorded = recalled(call, content, streams=streams_live())
    if recorded is not None:
        return _replayed(request, replay_of(recorded))
    response = await handler(request)
    if question is not None and response.status == HTTPStatus.OK:
        await _record(call, question, response)
    return response


async def _record(call: Call, question: Question, response: Any) -> None:
    body = await response.read()
    # Whoever reads it piece by piece finds it unread.
    response.content = _reader(body)
    if json_object(body) is not None:  # Else it is compressed, and its reader will open it.
        request_id = response.headers.get("x-request-id", "")
        outcome = Outcome(status_code=response.status, body=body, request_id=request_id)
        call.run.record(question, outcome)


# A response of aiohttp


_SECRET = ("Authorization", "api-key")


def _replayed(request: Any, replay: Replay) -> Any:
    # Errors of aiohttp carry their request, and trackers of errors send it on with its headers.
    for header in _SECRET:
        if header in request.headers:
            request.headers[header] = "kept out by batchq"
    response = _new_response(request)
    response.version = request.version
    response.status = replay.status_code
    response.reason = HTTPStatus(replay.status_code).phrase if _is_known(replay) else ""
    response._headers, response._raw_headers = _headers(replay)
    response.content = _reader(replay.body)
    return response


def _is_known(replay: Replay) -> bool:
    return replay.status_code in HTTPStatus._value2member_map_


def _new_response(request: Any) -> Any:
    from aiohttp.base_protocol import BaseProtocol
    from aiohttp.http import StreamWriter

    loop = asyncio.get_running_loop()
    parts = {
        "writer": None,
        "continue100": None,
        "timer": request._timer,
        "request_info": request.request_info,
        "traces": request._traces,
        "loop": loop,
        "session": request._session,
        "stream_writer": StreamWriter(BaseProtocol(loop), loop),
    }
    known = inspect.signature(request.response_class.__init__).parameters
    taken = {name: value for name, value in parts.items() if name in known}
    return request.response_class(request.method, request.original_url, **taken)


def _headers(replay: Replay) -> tuple[Any, tuple[tuple[bytes, bytes], ...]]:
    from multidict import CIMultiDict, CIMultiDictProxy

    headers = {**replay.headers, "content-length": str(len(replay.body))}
    raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return CIMultiDictProxy(CIMultiDict(headers)), raw


def _reader(body: bytes) -> Any:
    from aiohttp.base_protocol import BaseProtocol
    from aiohttp.streams import StreamReader

    loop = asyncio.get_running_loop()
    # A limit that the body does not reach: there is no connection to be told to pause.
    reader = StreamReader(BaseProtocol(loop), limit=len(body) + 1, loop=loop)
    reader.feed_data(body)
    reader.feed_eof()
    return reader
