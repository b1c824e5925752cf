"""The first prompts of lanes, and for how long each has been seen where it is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from batchq.journal.replies import count_of, milliseconds, replies_of, say_skipped
from batchq.journal.store import Store
from batchq.prompt import Lane

__all__ = ["Heads"]


class Heads:
    """One hash for each lane that ought to go, kept by those who look at each tick."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis

    def seen(self, lanes: Iterable[Lane]) -> dict[Lane, timedelta]:
        """For how long the first prompt of each of these lanes has been there, as far as it was
        noted.
        """
        now, found = self._look(lanes)
        return {lane: _ago(since, now) for lane, (_, since) in found.items()}

    def note(self, lanes: Iterable[Lane]) -> dict[Lane, timedelta]:
        """The same, and write it down. It counts anew after a time in which nobody did."""
        now, found = self._look(lanes)
        config = self._store.config
        keep = milliseconds(2 * config.poll_longest + 20 * config.tick)
        pipe = self._redis.pipeline(transaction=False)
        for lane, (first, since) in found.items():
            if not since:
                pipe.hset(self._key(lane), mapping={"first": first, "since": now})
            pipe.pexpire(self._key(lane), keep)
        if found:
            replies_of(pipe)
        return {lane: _ago(since, now) for lane, (_, since) in found.items()}

    def _look(self, lanes: Iterable[Lane]) -> tuple[int, dict[Lane, tuple[bytes, int]]]:
        """The time; and the first prompt of each lane with since when it is known as that, or 0."""
        wanted = list(lanes)
        if not wanted:
            return 0, {}
        pipe = self._redis.pipeline(transaction=False)
        for lane in wanted:
            pipe.zrange(self._store.lane_keys(lane)[0], 0, 0)
            pipe.hmget(self._key(lane), "first", "since")
        replies = replies_of(pipe)
        found: dict[Lane, tuple[bytes, int]] = {}
        for lane, first, known in zip(wanted, replies[::2], replies[1::2], strict=True):
            if isinstance(known, Exception):
                say_skipped(self._key(lane), known, lane=lane.name)
            elif first and not isinstance(first, Exception):
                found[lane] = (first[0], count_of(known[1]) if known[0] == first[0] else 0)
        return self._store.now(), found

    def _key(self, lane: Lane) -> str:
        return self._store.key("head", lane.name)


def _ago(since: int, now: int) -> timedelta:
    return timedelta(milliseconds=max(0, now - since)) if since else timedelta(0)
