"""One look at everything: what the journal says at one moment, for all who show or judge it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from batchq.decide.flush import ought_to_go
from batchq.decide.poll import longest_wait
from batchq.decide.room import NO_LIMIT, tokens_allowed
from batchq.journal import (
    AccountPause,
    BatchRecord,
    Journal,
    LaneRecord,
    LongRun,
    OwnError,
    Sums,
    journal_of,
)
from batchq.prompt import Lane
from batchq.settings.config import settings
from batchq.settings.record import Settings

__all__ = ["Kind", "Reading", "kind_of", "queued_in", "read"]

Kind = tuple[str, str]
"""An account and a model: what a provider's limit is of."""


def kind_of(lane: Lane) -> Kind:
    return lane.account, lane.model


def queued_in(batches: Iterable[BatchRecord]) -> Counter[Kind]:
    """The tokens of open batches, which count against the limits of their kinds."""
    found: Counter[Kind] = Counter()
    for batch in batches:
        found[kind_of(batch.lane)] += batch.tokens
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the journal said, all of it at about the time ``at`` (milliseconds of Redis's clock).

    ``late`` has how late the next step of a batch is, ``at_head`` for how long the first prompt of
    a lane that ought to go has been seen there. ``dead`` counts what `batchq.dead` lists. ``beat``
    is when beat sent its last tick (0: never).
    """

    at: int
    took: timedelta
    config: Settings
    lanes: tuple[LaneRecord, ...]
    held: frozenset[Lane]
    at_head: Mapping[Lane, timedelta] = field(default_factory=dict[Lane, timedelta])
    batches: tuple[BatchRecord, ...]
    late: Mapping[str, timedelta]
    sums: Mapping[Lane, Sums]
    today: Sums = field(default_factory=Sums)
    learned: Mapping[Kind, int]
    counters: Mapping[str, int]
    waiting: int
    resuming: int
    overdue: int
    long_runs: tuple[LongRun, ...] = ()
    rounds: Mapping[str, int] = field(default_factory=dict[str, int])
    dead_tasks: tuple[tuple[str, int], ...] = ()
    beat: int
    stands_in: str | None
    paused: tuple[AccountPause, ...] = ()
    own_errors: tuple[OwnError, ...] = ()

    @property
    def dead_batches(self) -> list[BatchRecord]:
        return [batch for batch in self.batches if batch.dead_at]

    @property
    def dead(self) -> int:
        return len(self.dead_tasks) + len(self.dead_batches)

    @property
    def known(self) -> list[Lane]:
        """Every lane that there is something of, the busy ones first."""
        waiting = (record.lane for record in self.lanes)
        batched = (record.lane for record in self.batches)
        return list(dict.fromkeys([*waiting, *batched, *self.held, *self.sums]))

    @property
    def limits(self) -> dict[Kind, int]:
        """The tokens that may be queued, where it is known."""
        accounts = self.config.accounts
        found = {
            kind: tokens_allowed(accounts[kind[0]].limits, kind[1], self.learned.get(kind))
            for kind in map(kind_of, self.known)
            if kind[0] in accounts
        }
        return {kind: limit for kind, limit in found.items() if limit < NO_LIMIT}

    @property
    def queued(self) -> Counter[Kind]:
        """The tokens that are."""
        return queued_in(self.batches)


def read(app: Any) -> Reading:
    """Read the journal. Raises whatever redis-py does."""
    began = time.monotonic()
    config, journal = settings(app), journal_of(app)
    lanes, batches, sums = journal.lanes.all(), journal.batches.open(), journal.tallies.lanes()
    named = {*(one.lane for one in lanes), *(one.lane for one in batches), *sums}
    return Reading(
        config=config,
        lanes=tuple(lanes),
        held=journal.lanes.held(),
        at_head=journal.heads.seen(one.lane for one in lanes if ought_to_go(one, config)),
        batches=tuple(batches),
        late=journal.batches.lateness(),
        sums=sums,
        today=journal.tallies.day(),
        learned=journal.lanes.learned_limits(set(map(kind_of, named))),
        counters=journal.tallies.counters(),
        waiting=journal.waiting.count(),
        resuming=journal.resuming.count(),
        overdue=journal.waiting.overdue(longest_wait(config)),
        long_runs=tuple(journal.runs.long(longer_than=config.long_run)),
        rounds=journal.runs.most_rounds(),
        dead_tasks=tuple(journal.tasks.dead()),
        own_errors=tuple(journal.own_errors.all()),
        paused=_paused(journal, config, lanes),
        stands_in=journal.beat.stands_in(),
        beat=journal.beat.seen_at(),
        at=journal.clock.now(),
        took=timedelta(seconds=time.monotonic() - began),
    )


def _paused(
    journal: Journal, config: Settings, lanes: Iterable[LaneRecord]
) -> tuple[AccountPause, ...]:
    """Of the accounts of lanes their records have it."""
    found = {one.lane.account: one.account_pause for one in lanes}
    others = journal.pauses.among(set(config.accounts) - found.keys())
    return tuple(pause for pause in (found | others).values() if pause is not None)
