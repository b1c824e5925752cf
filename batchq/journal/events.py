"""What is told: the stream of events, what was told already, and who has been told how far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from batchq.events import Event, OtherEvent, from_json, to_json
from batchq.journal.replies import milliseconds
from batchq.journal.scripts import arguments
from batchq.journal.store import Store

__all__ = ["EventLog"]

_EVENTS = 10_000
"""About how many events the stream keeps."""

_BLOCK = timedelta(seconds=5)
"""How long one read waits for an event: less than the client waits for any reply."""


class EventLog:
    """Events, for who wants to hear of them. What is written here decides nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key

    def note(self, event: Event) -> str:
        """Write down what has happened; returns the event's id. A full Redis takes it too."""
        keep = max(1, milliseconds(self._store.config.keep_batches))
        args = arguments(to_json(event), most=_EVENTS, keep=keep)
        return self._store.word("event", [self._key("events")], args)

    def read(self, *, after: str = "0-0", count: int = 1000) -> list[Event]:
        """The events behind one of them, by its id, oldest first; without ``after`` all of them."""
        return _read(self._redis.xrange(self._key("events"), min=f"({after}", count=count))

    def last(self, count: int) -> list[Event]:
        """The events that happened last, oldest first."""
        return _read(reversed(self._redis.xrevrange(self._key("events"), count=count)))

    def next(self, *, after: str, wait: timedelta = _BLOCK) -> list[Event]:
        """The events behind one of them; where there are none yet, waits for the first."""
        block = min(max(milliseconds(wait), 1), milliseconds(_BLOCK))
        # Read again below: the two protocols of Redis have the reply in two shapes.
        self._redis.xread({self._key("events"): after}, count=1, block=block)
        return self.read(after=after)

    def follow(self, *, after: str | None = None) -> Iterator[Event]:
        """Events as they happen, for ever, from behind ``after`` on; None is from now on."""
        last = self.last_id() if after is None else after
        while True:
            for event in self.next(after=last):
                last = event.id
                yield event

    def last_id(self) -> str:
        """The id behind which everything is that happens from now on."""
        found: list[tuple[bytes, Any]] = self._redis.xrevrange(self._key("events"), count=1)
        return found[0][0].decode() if found else f"{self._store.now() - 1}-0"

    def first_told(self, what: str, *, for_: timedelta) -> bool:
        """True for the first who is about to tell this; the others may again after that time."""
        life = max(1, milliseconds(for_))
        return bool(self._redis.set(self._key("told", what), 1, nx=True, px=life))

    def note_told(self, what: str, *, for_: timedelta) -> None:
        """This was told now: nobody is the first to tell it before that time is over."""
        self._redis.set(self._key("told", what), 1, px=max(1, milliseconds(for_)))

    def notified(self, receiver: int) -> str:
        """The event up to which a receiver of notices was told; of a new one, the last there is."""
        key = self._key("notified")
        told: bytes | None = self._redis.hget(key, str(receiver))
        if told is None:
            told = self.last_id().encode()
            self._redis.hsetnx(key, str(receiver), told)
        self._redis.pexpire(key, self._store.keep_journal)
        return told.decode(errors="replace")

    def note_notified(self, receiver: int, event_id: str) -> None:
        """Write down up to which event a receiver was told."""
        key = self._key("notified")
        with self._redis.pipeline() as pipe:
            pipe.hset(key, str(receiver), event_id)
            pipe.pexpire(key, self._store.keep_journal)
            pipe.execute()


def _read(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Event]:
    return [_event(entry_id.decode(), found.get(b"event", b"")) for entry_id, found in entries]


def _event(entry_id: str, text: bytes) -> Event:
    try:
        return from_json(text, id=entry_id)
    except ValueError:
        # Somebody else has written there. It keeps its place, so that who follows goes on.
        at = datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, tz=UTC)
        return OtherEvent(at=at, id=entry_id, name="unreadable", fields={})
