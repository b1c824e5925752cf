"""Tasks that were sent by the thousand, and whose messages nobody has been seen to take."""

from __future__ import annotations

from collections.abc import Sequence

from batchq.journal.store import Store

__all__ = ["Enqueued"]


class Enqueued:
    """One sorted set for all who enqueue: a task, by when its message was sent."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key("enqueued")

    def note(self, task_ids: Sequence[str]) -> None:
        """These are sent. What was noted so long ago that no journal is left of it is dropped."""
        if not task_ids:
            return
        now = self._store.now()
        pipe = self._redis.pipeline()
        pipe.zadd(self._key, dict.fromkeys(task_ids, now))
        pipe.zremrangebyscore(self._key, "-inf", now - self._store.keep_journal)
        pipe.pexpire(self._key, self._store.keep_journal)
        pipe.execute()

    def forget(self, task_ids: Sequence[str]) -> None:
        """These were taken, or something else knows of them."""
        if task_ids:
            self._redis.zrem(self._key, *task_ids)

    def noted(self, task_ids: Sequence[str]) -> set[str]:
        """Those of these that were sent and, as far as is known, not taken."""
        if not task_ids:
            return set()
        found: list[float | None] = self._redis.zmscore(self._key, task_ids)
        return {one for one, at in zip(task_ids, found, strict=True) if at is not None}
