"""Tallies: what was answered and what it cost, by day and by lane, and a sample of each minute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from batchq.journal.records import Sample, Sums
from batchq.journal.replies import count_of, milliseconds, replies_of, say_skipped
from batchq.journal.store import Store
from batchq.prompt import Lane

__all__ = ["KEEP_SUMS", "Tallies"]

KEEP_SUMS = timedelta(days=92)
"""For how long the sums of a day, and those of a lane that rests, are kept."""

_KEEP_SAMPLES = timedelta(days=8)
_HOUR = 3_600_000


class Tallies:
    """Sums, for people to look at. What is written to them decides nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key

    def keys(self, lane: Lane, now: int) -> list[str]:
        """Where the end of a batch is added up: its lane, its day, the lanes there are sums of."""
        return [
            self._key("tally", lane.name),
            self._day(_date(now)),
            self._key("tallied"),
        ]

    def _day(self, day: date) -> str:
        return self._key("day", day.isoformat())

    def day(self, day: date | None = None) -> Sums:
        """What the batches that ended on a day (UTC; None is today) brought and cost."""
        return self._sums([self._day(day or _date(self._store.now()))])[0]

    def days(self, count: int) -> dict[date, Sums]:
        """The last ``count`` days, today last."""
        today = _date(self._store.now())
        days = [today - timedelta(days=back) for back in reversed(range(count))]
        return dict(zip(days, self._sums([self._day(day) for day in days]), strict=True))

    def lanes(self) -> dict[Lane, Sums]:
        """What each lane has brought and cost since it was first flushed, newest first."""
        names: list[bytes] = self._redis.zrevrange(self._key("tallied"), 0, -1)
        lanes: list[Lane] = []
        for name in names:
            try:
                lanes.append(Lane.from_name(name.decode()))
            except ValueError as error:
                say_skipped(f"a member of {self._key('tallied')}", error)
        sums = self._sums([self._key("tally", lane.name) for lane in lanes])
        return dict(zip(lanes, sums, strict=True))

    def _sums(self, keys: list[str]) -> list[Sums]:
        pipe = self._redis.pipeline(transaction=False)
        for key in keys:
            pipe.hgetall(key)
        found: list[Sums] = []
        for key, reply in zip(keys, replies_of(pipe), strict=True):
            fields: Mapping[Any, Any] = reply
            if isinstance(reply, Exception):
                say_skipped(key, reply)
                fields = {}
            counts = {name.decode(errors="replace"): count_of(n) for name, n in fields.items()}
            found.append(Sums.from_hash(counts))
        return found

    def count(self, what: str, by: int = 1) -> None:
        """Add to one of the counters that `counters` gives."""
        with self._store.to_look_at():
            self._redis.hincrby(self._key("counters"), what, by)

    def counters(self) -> dict[str, int]:
        """Counts since the journal began: prompts ``captured`` and ``answered``, batches created
        once too often (``extra_batches``), and what rescue did (``rescued:<what>``).
        """
        fields: dict[bytes, bytes] = self._redis.hgetall(self._key("counters"))
        return {name.decode(errors="replace"): count_of(value) for name, value in fields.items()}

    def take_sample(self, *, waiting: int, batched: int) -> None:
        """Write down how much there is now, in the place of what this minute had before."""
        now = self._store.now()
        answered = self.counters().get("answered", 0)
        key, minute = self._hour(now), now % _HOUR // 60_000
        with self._store.to_look_at():
            self._redis.hset(key, str(minute), f"{waiting} {batched} {answered}")
            self._redis.pexpire(key, milliseconds(_KEEP_SAMPLES))

    def samples(self, past: timedelta) -> list[Sample]:
        """What there was at each minute of the past, as far as beat or a stand-in was there."""
        now = self._store.now()
        began = now - milliseconds(past)
        hours = range(began // _HOUR, now // _HOUR + 1)
        pipe = self._redis.pipeline(transaction=False)
        for hour in hours:
            pipe.hgetall(self._hour(hour * _HOUR))
        found: list[Sample] = []
        for hour, reply in zip(hours, replies_of(pipe), strict=True):
            fields: dict[bytes, bytes] = {} if isinstance(reply, Exception) else reply
            for minute, text in fields.items():
                counts = [count_of(part) for part in text.split()]
                at = hour * _HOUR + count_of(minute) * 60_000
                if len(counts) == 3 and at >= began:
                    waiting, batched, answered = counts
                    sample = Sample(at=at, waiting=waiting, batched=batched, answered=answered)
                    found.append(sample)
        return sorted(found, key=lambda sample: sample.at)

    def _hour(self, now: int) -> str:
        return self._key("minutes", str(now // _HOUR))


def _date(now: int) -> date:
    return datetime.fromtimestamp(now / 1000, tz=UTC).date()
