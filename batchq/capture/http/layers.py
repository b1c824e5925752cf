"""What a client of httpx does to its requests by itself: event hooks, an auth, a transport.

They may take a secret out of a prompt, so they are run or the call is refused, and never passed
over.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from types import FunctionType, MethodType, ModuleType
from typing import Any

__all__ = ["Layer", "family_of", "layer_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer of the client's own. ``refusal`` says why a call through it cannot be batched."""

    transport: str
    refusal: str | None


def layer_of(client: Any, request: Any, auth: Any) -> Layer | None:
    """What is between this client and httpx's own transport; None where there is nothing.

    ``auth`` is what this request was sent with.
    """
    transport = client._transport_for_url(request.url)
    if type(transport) in _network(family_of(request)) and not _is_patched(transport):
        return Layer(transport="", refusal=None) if _acts(client, request, auth) else None
    name = f"{type(transport).__module__}.{type(transport).__qualname__}"
    return Layer(transport=name, refusal=_refusal(transport, name))


def _is_patched(transport: Any) -> bool:
    return any(name in vars(transport) for name in ("handle_request", "handle_async_request"))


def family_of(request: Any) -> Any:
    """The module httpx or httpx2 that a request is of."""
    return sys.modules[type(request).__module__.partition(".")[0]]


def _acts(client: Any, request: Any, auth: Any) -> bool:
    own = client.auth if auth is family_of(request).USE_CLIENT_DEFAULT else auth
    return own is not None or bool(request.url.userinfo) or any(client.event_hooks.values())


def _network(family: Any) -> tuple[type, type]:
    return family.HTTPTransport, family.AsyncHTTPTransport


def _refusal(transport: Any, name: str) -> str | None:
    if any(_is_known(each) for each in islice(_within(transport), _MANY)):
        return None
    return (
        f"its client's transport {name} is none of httpx's own and holds none, so nobody can tell "
        "what it makes of the request, or where it sends it"
    )


def _is_known(held: Any) -> bool:
    """True for what hands a request on to where we are, or answers it and sends it nowhere."""
    return isinstance(held, _known()) or _speaks_aiohttp(held)


def _known() -> tuple[type, ...]:
    families = [sys.modules[name] for name in ("httpx2", "httpx") if name in sys.modules]
    return tuple(
        getattr(family, name) for family in families for name in _KNOWN if hasattr(family, name)
    )


_KNOWN = (
    *("HTTPTransport", "AsyncHTTPTransport", "Client", "AsyncClient"),
    *("MockTransport", "ASGITransport", "WSGITransport"),
)


def _speaks_aiohttp(held: Any) -> bool:
    """True for a transport whose own module uses aiohttp: that is where its requests leave."""
    modules = [sys.modules.get(each.__module__) for each in type(held).__mro__[:-1]]
    is_transport = hasattr(held, "handle_async_request")
    return is_transport and any("aiohttp" in vars(each) for each in modules if each is not None)


_MANY = 500
"""Objects to look through at most."""


def _within(transport: Any) -> Iterator[Any]:
    """The transport and what it holds, near things first: attributes, items, closures."""
    seen: set[int] = set()
    held = [transport]
    while held:
        each = held.pop(0)
        if id(each) not in seen and not isinstance(each, _PLAIN):
            seen.add(id(each))
            yield each
            held.extend(_held_by(each))


_PLAIN: tuple[type, ...] = (str, bytes, int, float, type(None), ModuleType)


def _held_by(each: Any) -> Iterator[Any]:
    if isinstance(each, Mapping):
        yield from each.values()
    elif isinstance(each, (list, tuple, set, frozenset)):
        yield from each
    elif isinstance(each, MethodType):
        yield from (each.__self__, each.__func__)
    elif isinstance(each, functools.partial):
        yield from (each.func, *each.args, *each.keywords.values())
    elif isinstance(each, FunctionType):
        for cell in each.__closure__ or ():
            with suppress(ValueError):  # It is empty.
                yield cell.cell_contents
    elif not isinstance(each, type):
        yield from _attributes(each)


def _attributes(each: Any) -> Iterator[Any]:
    yield from getattr(each, "__dict__", {}).values()
    for kind in type(each).__mro__[:-1]:
        yield from (vars(kind).get(name) for name in ("handle_request", "handle_async_request"))
        for name in getattr(kind, "__slots__", ()):
            yield getattr(each, name, None)
