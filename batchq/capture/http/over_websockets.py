"""The hook on websockets: a session with a model (``client.realtime.connect``) has no batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from batchq.capture.http.asking import ask
from batchq.capture.http.calls import in_a_body, sight
from batchq.capture.http.seats import seat, when_imported
from batchq.capture.run import goes_live

__all__ = ["hook_websockets"]

Connect = Callable[..., Any]


def hook_websockets() -> None:
    when_imported("websockets.sync.client", _hook)
    when_imported("websockets.asyncio.client", _hook_async)


def _hook(module: ModuleType) -> None:
    seat(module, "connect", _hooked)


def _hook_async(module: ModuleType) -> None:
    # In its constructor, and so in those of its kin: the SDK has a class of its own.
    seat(module.connect, "__init__", _hooked_init)


def _hooked(connect: Connect) -> Connect:
    @functools.wraps(connect)
    def hooked(uri: str, *args: Any, **options: Any) -> Any:
        _look_at(uri, options)
        return connect(uri, *args, **options)

    return hooked


def _hooked_init(init: Connect) -> Connect:
    @functools.wraps(init)
    def hooked(connecting: Any, uri: str, *args: Any, **options: Any) -> None:
        _look_at(uri, options)
        init(connecting, uri, *args, **options)

    return hooked


def _look_at(uri: str, options: dict[str, Any]) -> None:
    """Refuse a session with a model of an account; one with any other model is told once."""
    if not in_a_body():
        return
    given = dict(options.get("additional_headers") or {})
    headers = {**{name.lower(): value for name, value in given.items()}, "upgrade": "websocket"}
    call = sight("GET", uri, headers)
    if call is not None and not goes_live():
        ask(call, b"")
