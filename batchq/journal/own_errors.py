"""Errors of our own, as all processes have met them: what, where, how often, when last."""

from __future__ import annotations

from datetime import timedelta

from batchq.common.own_errors import place_of
from batchq.journal.records import OwnError
from batchq.journal.replies import count_of, milliseconds
from batchq.journal.store import Store

__all__ = ["OwnErrors"]

_KEEP = timedelta(days=7)
"""For how long they are shown after the last of them."""


class OwnErrors:
    """Kept to be looked at: `check`, `status` and a metric show them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._own_errors = store.key("own-errors")

    def note(self, error: BaseException) -> None:
        """One more of this kind from this place. A full Redis goes without."""
        what = f"{type(error).__name__} at {place_of(error)}"
        with self._store.to_look_at():
            pipe = self._redis.pipeline()
            pipe.hincrby(self._own_errors, f"times:{what}", 1)
            pipe.hset(self._own_errors, f"last:{what}", self._store.now())
            pipe.pexpire(self._own_errors, milliseconds(_KEEP))
            pipe.execute()

    def all(self) -> list[OwnError]:
        """Of the last week or longer, the latest first."""
        fields: dict[bytes, bytes] = self._redis.hgetall(self._own_errors)
        known = {name.decode(errors="replace"): count_of(count) for name, count in fields.items()}
        found = [
            OwnError(what=what, times=times, last=known.get(f"last:{what}", 0))
            for name, times in known.items()
            if (what := name.removeprefix("times:")) != name
        ]
        return sorted(found, key=lambda one: one.last, reverse=True)
