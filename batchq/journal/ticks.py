"""Beat, and who stands in for it."""

from __future__ import annotations

from datetime import timedelta

from batchq.journal.books import Books
from batchq.journal.replies import (
    milliseconds,
)

__all__ = ["Ticks"]


class Ticks(Books):
    """When beat was last seen, and which worker stands in for it."""

    def note_beat(self) -> None:
        """Beat has sent a tick just now."""
        self._redis.set(self.key("beat"), self.now(), px=self._keep_journal)

    def since_beat(self) -> timedelta | None:
        """How long ago beat sent its last tick, if ever."""
        seen = self._number(self.key("beat"))
        return None if seen is None else timedelta(milliseconds=max(0, self.now() - seen))

    def stand_in(self, name: str, duration: timedelta) -> bool:
        """True where ``name`` stands in for beat from now on, or goes on doing so."""
        key, life = self.key("stand-in"), milliseconds(duration)
        if self._redis.set(key, name, nx=True, px=life):
            return True
        if self._redis.get(key) != name.encode():
            return False
        self._redis.pexpire(key, life)
        return True

    def stand_down(self, name: str) -> None:
        self._word("release", [self.key("stand-in")], [name])

    def stands_in(self) -> str | None:
        """Who stands in for beat now."""
        name: bytes | None = self._redis.get(self.key("stand-in"))
        return None if name is None else name.decode(errors="replace")
