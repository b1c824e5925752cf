"""Connections of async HTTP clients: each body's event loop has its own, closed before the loop.

A client at module level lives longer than the loops of the bodies that use it, and a connection
that one loop has opened is of no use to another: "Event loop is closed". Calls that are replayed
open none; those that go live do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from batchq.capture.http.seats import seat
from batchq.common.seams.connections import without_connections

__all__ = ["install_own_connections", "own_connections"]

Handle = Callable[..., Coroutine[Any, Any, Any]]


@dataclass(eq=False, slots=True)
class _Own:
    """What the clients of one loop use in the place of their own transports."""

    loop: asyncio.AbstractEventLoop
    transports: dict[Any, Any] = field(default_factory=dict[Any, Any])

    def of(self, transport: Any) -> Any:
        if transport not in self.transports:
            self.transports[transport] = without_connections(transport)
        return self.transports[transport]


_own: ContextVar[_Own | None] = ContextVar("batchq_connections", default=None)


@asynccontextmanager
async def own_connections() -> AsyncGenerator[None]:
    """Within it, async clients open connections that end with it."""
    own = _Own(asyncio.get_running_loop())
    token = _own.set(own)
    try:
        yield
    finally:
        _own.reset(token)
        for transport in own.transports.values():
            await transport.aclose()


def install_own_connections() -> None:
    """Let the transports of httpx and httpx2 look whether they are used within it, once."""
    for family in ("httpx2", "httpx"):
        if find_spec(family) is None:
            continue
        transport: Any = import_module(family).AsyncHTTPTransport
        seat(transport, "handle_async_request", _handled, mark=_MARK)
        seat(transport, "aclose", _closed, mark=_MARK)


_MARK = "__batchq_connections__"


def _handled(handle: Handle) -> Handle:
    async def handled(transport: Any, request: Any) -> Any:
        own = _own_here()
        return await handle(transport if own is None else own.of(transport), request)

    return handled


def _closed(close: Handle) -> Handle:
    async def closed(transport: Any) -> None:
        own = _own_here()
        if own is not None and transport in own.transports:
            await close(own.transports.pop(transport))
        await close(transport)

    return closed


def _own_here() -> _Own | None:
    """None elsewhere: a thread of the body may have a loop of its own."""
    own = _own.get()
    return own if own is not None and own.loop is asyncio.get_running_loop() else None
