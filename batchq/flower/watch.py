"""One reading of the journal for all who look at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from batchq.flower.desk import PATIENCE, Away, begin
from batchq.flower.overview import BatchRow, Snapshot, lane_rows, turnarounds_of
from batchq.journal import Journal, journal_of
from batchq.observe.diagnosis import look
from batchq.observe.reading import read as read_journal
from batchq.overview import dead_in, status_of

__all__ = ["INTERVAL", "MOST", "Watch", "watch_of"]

INTERVAL = 2.0
"""Seconds for which a reading is new enough, or its failure is told instead of trying again."""

MOST = 20_000
"""So many closed batches are shown at most, the newest."""

AT_ONCE = 3_000
"""So many records are read in one reading, so that the first page does not wait for all of them."""

_AT_LEAST = 0.5


class Watch:
    """What `Snapshot` shows of one app, read anew at most every `INTERVAL`, and only when somebody
    looks. Belongs to Flower's loop.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._shelf = Shelf()
        self._reading: asyncio.Future[Snapshot] | None = None
        self._began = 0.0
        self._failed = 0.0

    async def snapshot(self, *, fresh: bool = False) -> Snapshot:
        """The last reading, or a new one where that is too old, or ``fresh``: begun after now.

        Raises Away where Redis takes too long; the reading goes on, and nobody begins another.
        """
        reading = self._reading
        if reading is not None and not reading.done():
            if not fresh:
                return await self._wait(reading)
            await self._wait(reading)  # It may have begun before what is to be seen in it.
        age = time.monotonic() - max(self._began, self._failed)
        if reading is None or fresh or age >= INTERVAL:
            reading = self._begin()
        return await self._wait(reading)

    def _begin(self) -> asyncio.Future[Snapshot]:
        self._began = time.monotonic()
        self._reading = begin(read, self._app, self._shelf)
        self._reading.add_done_callback(self._note_failure)
        return self._reading

    def _note_failure(self, reading: asyncio.Future[Snapshot]) -> None:
        # A reading that fails may have taken all the patience there is, and the next one would too.
        if reading.exception() is not None:
            self._failed = time.monotonic()

    async def _wait(self, reading: asyncio.Future[Snapshot]) -> Snapshot:
        # Who comes when Redis has been away for long is told soon.
        left = self._began + PATIENCE.total_seconds() - time.monotonic()
        await asyncio.wait([reading], timeout=max(left, _AT_LEAST))
        if not reading.done():
            raise Away(f"no answer within {PATIENCE.total_seconds():g} seconds")
        return reading.result()


class Shelf:
    """The closed batches that are known already: they change no more. ``unread`` counts those that
    are still to be read.
    """

    def __init__(self) -> None:
        self._rows: dict[str, BatchRow] = {}
        self.unread = 0

    def closed(self, journal: Journal) -> list[BatchRow]:
        """The closed batches, newest first; only those are read that are new."""
        ids = journal.batches.closed_ids(MOST)
        new = [batch_id for batch_id in ids if batch_id not in self._rows]
        found = journal.batches.named(new[:AT_ONCE])
        known = self._rows | {one.id: BatchRow.of(one) for one in found}
        self._rows = {batch_id: known[batch_id] for batch_id in ids if batch_id in known}
        self.unread = len(new[AT_ONCE:])
        return list(self._rows.values())


def read(app: Any, shelf: Shelf) -> Snapshot:
    """Read all that the page shows. Blocks."""
    journal, reading = journal_of(app), read_journal(app)
    closed = shelf.closed(journal)
    turnarounds = turnarounds_of(closed)
    # What closes between the two readings is in both.
    seen = {row.record.id for row in closed}
    opened = [BatchRow.of(one) for one in reading.batches if one.id not in seen]
    lanes = lane_rows(
        waiting=reading.lanes,
        held=reading.held,
        sums=reading.sums,
        batches=[row.record for row in opened],
        turnarounds=turnarounds,
        settings=reading.config,
        now=reading.at,
    )
    return Snapshot(
        now=reading.at,
        status=status_of(reading, look(app, reading)),
        today=reading.today,
        lanes=tuple(lanes),
        batches=tuple(_newest_first(opened, closed)),
        turnarounds=turnarounds,
        dead=tuple(dead_in(journal, reading.dead_tasks, reading.dead_batches)),
        unread=shelf.unread,
    )


def _newest_first(opened: list[BatchRow], closed: list[BatchRow]) -> Iterator[BatchRow]:
    yield from sorted(opened, key=lambda row: row.record.sealed_at, reverse=True)
    yield from closed


def watch_of(application: Any, app: Any) -> Watch:
    """The one watch of a Flower."""
    if application not in _watches:
        _watches[application] = Watch(app)
    return _watches[application]


_watches: WeakKeyDictionary[Any, Watch] = WeakKeyDictionary()
