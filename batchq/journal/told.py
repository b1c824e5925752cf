"""What is told: the stream of events, what was told already, and who has been told how far."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from batchq.events import Event, OtherEvent, from_json, to_json
from batchq.journal.books import Books
from batchq.journal.lease import Lease
from batchq.journal.replies import count_of, milliseconds
from batchq.prompt import Lane

__all__ = ["Notified", "Told"]

_EVENTS = 10_000
"""About how many events the stream keeps."""

_BLOCK = timedelta(seconds=5)
"""How long one read waits for an event: less than the client waits for any reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified:
    """How far somebody has been told: up to the event ``id``. After ``failures`` in a row nothing
    is sent before ``until``, in milliseconds of Redis's clock.
    """

    id: str
    failures: int
    until: int


class Told(Books):
    """Events, for who wants to hear of them. What is written here decides nothing."""

    # The stream

    def note_event(self, event: Event) -> str:
        """Write down what has happened; returns the event's id. A full Redis takes it too."""
        keep = max(1, milliseconds(self._config.keep_batches))
        return self._word("event", [self.key("events")], [to_json(event), _EVENTS, keep])

    def events(self, *, after: str = "0-0", count: int = 1000) -> list[Event]:
        """The events behind one of them, by its id, oldest first; without ``after`` all of them."""
        return _read(self._redis.xrange(self.key("events"), min=f"({after}", count=count))

    def last_events(self, count: int) -> list[Event]:
        """The events that happened last, oldest first."""
        return _read(reversed(self._redis.xrevrange(self.key("events"), count=count)))

    def next_events(self, *, after: str, wait: timedelta = _BLOCK) -> list[Event]:
        """The events behind one of them; where there are none yet, waits for the first."""
        block = min(max(milliseconds(wait), 1), milliseconds(_BLOCK))
        # Read again below: the two protocols of Redis have the reply in two shapes.
        self._redis.xread({self.key("events"): after}, count=1, block=block)
        return self.events(after=after)

    def follow(self, *, after: str | None = None) -> Iterator[Event]:
        """Events as they happen, for ever, from behind ``after`` on; None is from now on."""
        last = self.last_event_id() if after is None else after
        while True:
            for event in self.next_events(after=last):
                last = event.id
                yield event

    def last_event_id(self) -> str:
        """The id behind which everything is that happens from now on."""
        found: list[tuple[bytes, Any]] = self._redis.xrevrange(self.key("events"), count=1)
        return found[0][0].decode() if found else f"{self.now() - 1}-0"

    # What is told once only

    def first_told(self, what: str, *, for_: timedelta) -> bool:
        """True for the first who is about to tell this; the others may again after that time."""
        life = max(1, milliseconds(for_))
        return bool(self._redis.set(self.key("told", what), 1, nx=True, px=life))

    def at_head(self, lane: Lane) -> timedelta:
        """How long the first prompt of a lane has been seen there by those who look now and then.

        It counts anew after a time without a look.
        """
        first = self._range(self._lane(lane)[0], 0, 0)
        if not first:
            return timedelta(0)
        key, now = self.key("head", lane.name), self.now()
        seen, since = self._redis.hmget(key, "first", "since")
        if seen != first[0] or not count_of(since):
            since = now
            self._redis.hset(key, mapping={"first": first[0], "since": now})
        self._redis.pexpire(
            key, milliseconds(2 * self._config.poll_longest + 20 * self._config.tick)
        )
        return timedelta(milliseconds=max(0, now - count_of(since)))

    # Who has been told how far

    @contextmanager
    def notify_lease(self, receiver: str) -> Generator[Lease | None]:
        """Hold the only right to send a receiver notices, or get None where another has it."""
        with self._only(self.key("lease", "notify", receiver)) as lease:
            yield lease

    def notified(self, receiver: str) -> Notified:
        """How far a receiver has been told; a new one, up to now."""
        key = self.key("notified", receiver)
        told, failures, until = self._redis.hmget(key, "id", "failures", "until")
        if told is None:
            told = self.last_event_id().encode()
            self._redis.hsetnx(key, "id", told)
        self._redis.pexpire(key, self._keep_journal)
        known = told.decode(errors="replace")
        return Notified(id=known, failures=count_of(failures), until=count_of(until))

    def note_notified(self, receiver: str, *, id: str, failures: int, pause: timedelta) -> None:  # noqa: A002 the field is called so
        """Write down how far a receiver was told, and how long it is left alone now."""
        until = self.now() + milliseconds(pause)
        key = self.key("notified", receiver)
        self._redis.hset(key, mapping={"id": id, "failures": failures, "until": until})
        self._redis.pexpire(key, self._keep_journal)


def _read(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Event]:
    return [_event(entry_id.decode(), found.get(b"event", b"")) for entry_id, found in entries]


def _event(entry_id: str, text: bytes) -> Event:
    try:
        return from_json(text, id=entry_id)
    except ValueError:
        # Somebody else has written there. It keeps its place, so that who follows goes on.
        at = datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, tz=UTC)
        return OtherEvent(at=at, id=entry_id, name="unreadable", fields={})
