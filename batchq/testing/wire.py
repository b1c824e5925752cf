"""Nothing of a test goes out: calls of a model's API end where the HTTP clients would connect."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

from batchq.capture.run import current_run
from batchq.common.seams.tasks import task_stack
from batchq.settings.limits import BATCH_ENDPOINTS
from batchq.testing.asked import Request, shown
from batchq.testing.failures import Unanswered
from batchq.testing.replies import Reply

__all__ = ["answered"]

Answer = Callable[[Request], Reply]


@contextmanager
def answered(answer: Answer) -> Generator[None]:
    """Within it, what would go to a model's API over httpx or httpx2 gets this answer.

    At the transports, the last there is before the network: all above it (auth, event hooks, a
    transport that hands on, our own hook) does what it does in production.
    """
    with ExitStack() as stack:
        for family, transport, name in _transports():
            make = _async if name == "handle_async_request" else _sync
            before = getattr(transport, name)
            setattr(transport, name, make(family, before, answer))
            stack.callback(setattr, transport, name, before)
        yield


def _transports() -> list[tuple[Any, Any, str]]:
    found: list[tuple[Any, Any, str]] = []
    for name in ("httpx2", "httpx"):
        if find_spec(name) is not None:
            family = import_module(name)
            found.append((family, family.HTTPTransport, "handle_request"))
            found.append((family, family.AsyncHTTPTransport, "handle_async_request"))
    aiohttp = sys.modules.get("httpx_aiohttp")
    if aiohttp is not None:
        found.append((import_module("httpx"), aiohttp.AiohttpTransport, "handle_async_request"))
    return found


def _sync(family: Any, handle: Callable[..., Any], answer: Answer) -> Callable[..., Any]:
    def handle_request(transport: Any, request: Any) -> Any:
        if not _is_for_a_model(request):
            return handle(transport, request)
        request.read()
        return _response(family, request, answer)

    return handle_request


def _async(family: Any, handle: Callable[..., Any], answer: Answer) -> Callable[..., Any]:
    async def handle_async_request(transport: Any, request: Any) -> Any:
        if not _is_for_a_model(request):
            return await handle(transport, request)
        await request.aread()
        return _response(family, request, answer)

    return handle_async_request


def _is_for_a_model(request: Any) -> bool:
    """True for what an SDK of OpenAI's kind sends, and for a POST to an endpoint like OpenAI's."""
    return "x-stainless-lang" in request.headers or (
        request.method == "POST" and _endpoint(request.url.path) in BATCH_ENDPOINTS
    )


def _endpoint(path: str) -> str:
    """The endpoint's name in OpenAI's API, whatever its host puts before it."""
    rest = (each for each in BATCH_ENDPOINTS if path.endswith(each.removeprefix("/v1")))
    return max(rest, key=len, default=path)


def _response(family: Any, request: Any, answer: Answer) -> Any:
    asked = _request(request)
    if asked.body.get("stream"):
        raise Unanswered(f"a test answers no streams, and this is one: {shown(asked)}")
    reply = answer(asked)
    body = reply.body
    if reply.status_code is None:
        body = {"error": {"message": reply.message, "code": reply.code}}
    return family.Response(
        503 if reply.status_code is None else reply.status_code,
        # A test need not wait for the SDK's own retries.
        headers={"x-should-retry": "false"},
        json=body,
        request=request,
    )


def _request(request: Any) -> Request:
    body = _json_object(request.content)
    run, stack = current_run(), task_stack()
    model = body.get("model")
    return Request(
        endpoint=_endpoint(request.url.path),
        model=model if isinstance(model, str) else "",
        body=body,
        task=run.task_name if run is not None else stack[-1].name if stack else "",
        task_id=run.task_id if run is not None else (stack[-1].request.id or "") if stack else "",
        round=run.round if run is not None else 0,
        live=True,
    )


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}
