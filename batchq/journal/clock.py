"""The journal's clock: Redis's own, which all workers share. A test environment may move it.

With ``BATCHQ_TEST_CLOCK`` in its environment a process adds to the time what `Clock.advance` has
put into Redis, so the clock is moved for all such processes at once. A process without it, as in
production, neither reads nor writes that.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import Any

from batchq.journal.scripts import arguments

__all__ = ["Clock", "source_of"]

_INCLUDE = re.compile(r'^-- @include "(\w+)"$', re.MULTILINE)
_LEASES = ("lease:", "stand-in")


class Clock:
    """Tells the time of one Redis. ``prefix`` is that of the journal's keys, braces and all."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._redis = client
        self.prefix = prefix
        self._shift = shift_key(prefix)

    def now(self) -> int:
        """Milliseconds since 1970 by Redis's own clock."""
        if not _is_movable():
            seconds, microseconds = self._redis.time()
            return _milliseconds(seconds, microseconds)
        (seconds, microseconds), shift = (
            self._redis.pipeline(transaction=False).time().get(self._shift).execute()
        )
        return _milliseconds(seconds, microseconds) + int(shift or 0)

    def advance(self, by: timedelta) -> None:
        """Let so much time pass at once, for every process of a test environment.

        Keys of the journal lose as much of their time to live. Leases stay as they are: they are
        renewed in real time. RuntimeError outside a test environment.
        """
        if not _is_movable():
            raise RuntimeError("BATCHQ_TEST_CLOCK is not set, so time cannot be moved")
        leases = tuple(f"{self.prefix}:{name}" for name in _LEASES)
        mortal = [
            key
            for key in self._redis.scan_iter(match=f"{self.prefix}:*", count=1000)
            if not key.decode(errors="replace").startswith(leases)
        ]
        keys = [self._shift, f"{self.prefix}:beat", *mortal]
        script = self._redis.register_script(source_of("testing/pass", self.prefix))
        script(keys=keys, args=arguments(by=by // timedelta(milliseconds=1)))


def _is_movable() -> bool:
    return bool(os.environ.get("BATCHQ_TEST_CLOCK"))


def _milliseconds(seconds: int, microseconds: int) -> int:
    return seconds * 1000 + microseconds // 1000


def shift_key(prefix: str) -> str:
    """Where it is kept by how much a test has moved the clock."""
    return f"{prefix}:clock"


def source_of(script: str, prefix: str) -> str:
    """The text of a script, with what it includes in the place of ``-- @include "name"``.

    An include may have includes of its own; each is there once.
    """
    there: set[str] = set()

    def included(line: re.Match[str]) -> str:
        name = line[1]
        if name in there:
            return ""
        there.add(name)
        return _INCLUDE.sub(included, _include(name, prefix))

    return _INCLUDE.sub(included, _read(script))


def _include(name: str, prefix: str) -> str:
    text = _read(f"includes/{name}")
    if name == "now" and _is_movable():
        text += _read("testing/shifted").replace("SHIFT", f'"{shift_key(prefix)}"')
    return text


@cache
def _read(name: str) -> str:
    return resources.files("batchq.journal.lua").joinpath(f"{name}.lua").read_text(encoding="utf-8")
