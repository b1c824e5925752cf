"""Beat, and who stands in for it."""

from __future__ import annotations

from datetime import timedelta

from batchq.journal.replies import (
    milliseconds,
)
from batchq.journal.scripts import arguments
from batchq.journal.store import Store

__all__ = ["Beat"]


class Beat:
    """When beat was last seen, and which worker stands in for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key

    def note(self) -> None:
        """Beat has sent a tick just now."""
        self._redis.set(self._key("beat"), self._store.now(), px=self._store.keep_journal)

    def since(self) -> timedelta | None:
        """How long ago beat sent its last tick, if ever."""
        seen = self.seen_at()
        return timedelta(milliseconds=max(0, self._store.now() - seen)) if seen else None

    def seen_at(self) -> int:
        """When beat sent its last tick; 0 where it never did."""
        return self._store.number(self._key("beat")) or 0

    def stand_in(self, name: str, duration: timedelta) -> bool:
        """True where ``name`` stands in for beat from now on, or goes on doing so."""
        key, life = self._key("stand-in"), milliseconds(duration)
        if self._redis.set(key, name, nx=True, px=life):
            return True
        if self._redis.get(key) != name.encode():
            return False
        self._redis.pexpire(key, life)
        return True

    def stand_down(self, name: str) -> None:
        self._store.word("release", [self._key("stand-in")], arguments(token=name))

    def stands_in(self) -> str | None:
        """Who stands in for beat now."""
        name: bytes | None = self._redis.get(self._key("stand-in"))
        return None if name is None else name.decode(errors="replace")
