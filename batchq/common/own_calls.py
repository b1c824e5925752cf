"""Calls of our own are not captured: those of the Batch API, and what gets an account its key."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["bypass", "is_bypassed"]

_own: ContextVar[bool] = ContextVar("batchq_own_call", default=False)


@contextmanager
def bypass() -> Generator[None]:
    """Within it, calls are not looked at."""
    token = _own.set(True)
    try:
        yield
    finally:
        _own.reset(token)


def is_bypassed() -> bool:
    """True inside ``with bypass():``."""
    return _own.get()
