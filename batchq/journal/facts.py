"""What the server of the journal says of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import redis

__all__ = ["Facts", "look"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a server says of itself. ``ahead`` is how far this machine's clock is before its own.

    ``unasked`` are the commands it did not let us ask with; ``info`` and ``config`` lack the rest.
    """

    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    config: Mapping[str, str] = field(default_factory=dict[str, str])
    ahead: timedelta = timedelta(0)
    unasked: tuple[str, ...] = ()


def look(client: Any) -> Facts:
    """Ask a server. What it refuses to say (an ACL, a managed server) is left out, and named."""
    unasked: list[str] = []

    def ask(command: str, call: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return call()
        except redis.ResponseError:
            unasked.append(command)
            return otherwise

    info = ask("INFO", client.info, {})
    raw = ask(
        "CONFIG GET",
        lambda: {**client.config_get("append*"), **client.config_get("maxmemory-policy")},
        {},
    )
    config = {_text(name): _text(value) for name, value in raw.items()}
    before = time.time()
    seconds, microseconds = ask("TIME", client.time, (before, 0))
    after = time.time()
    told = seconds + microseconds / 1_000_000
    # What the answer took on its way is not held against the clock.
    ahead = max(before - told, 0.0) + min(after - told, 0.0)
    return Facts(info=info, config=config, ahead=timedelta(seconds=ahead), unasked=tuple(unasked))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
