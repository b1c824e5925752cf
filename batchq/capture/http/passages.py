"""A request on its way through a client: what was decided about it where it was first seen."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = [
    "Passage",
    "added_on_the_way",
    "decided",
    "is_decided",
    "passing",
    "say_reached",
    "streams_live",
]


@dataclass(slots=True, kw_only=True)
class Passage:
    """One request that is on its way through a layer of its client's own.

    ``headers`` are the names it begins with; ``reached`` turns true where it comes out on our side
    of that layer.
    """

    streams: bool
    headers: Collection[str] = ()
    reached: bool = False


_passage: ContextVar[Passage | None] = ContextVar("batchq_passage", default=None)
_decided: ContextVar[bool] = ContextVar("batchq_decided", default=False)


@contextmanager
def passing(*, streams: bool, headers: Iterable[str] = ()) -> Generator[Passage]:
    passage = Passage(streams=streams, headers=frozenset(name.lower() for name in headers))
    token = _passage.set(passage)
    try:
        yield passage
    finally:
        _passage.reset(token)


def say_reached() -> None:
    passage = _passage.get()
    if passage is not None:
        passage.reached = True


def added_on_the_way(headers: Iterable[str]) -> frozenset[str]:
    """Those of ``headers`` that the layer has added: an auth, a hook or a transport."""
    passage = _passage.get()
    if passage is None:
        return frozenset()
    return frozenset(name.lower() for name in headers) - frozenset(passage.headers)


def streams_live() -> bool:
    """True where the caller reads a live answer piece by piece."""
    passage = _passage.get()
    return passage is not None and passage.streams


@contextmanager
def decided() -> Generator[None]:
    """Within it, requests go out and are not looked at again: whoever sent them has seen to it."""
    token = _decided.set(True)
    try:
        yield
    finally:
        _decided.reset(token)


def is_decided() -> bool:
    return _decided.get()
