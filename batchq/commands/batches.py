"""`batches`: the open ones and those that ended, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

import click

from batchq.commands import shapes
from batchq.commands.terminal import Exit, Terminal, command
from batchq.journal import BatchRecord, Journal, chunks, journal_of
from batchq.money.cost import Cost
from batchq.provider.descriptions import STATUSES

__all__ = ["all_batches", "batches", "show_batches"]

_STATES = ("sealed", "uploaded", "submitted", "finished", "closed")
_PAGE = 500
_ALL = 1_000_000
"""More than there can be within `batchq_keep_batches`: a provider takes 2,000 an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which batches are wanted. None leaves it open."""

    state: str | None
    lane: str | None
    task: str | None
    account: str | None

    def takes(self, record: BatchRecord) -> bool:
        return (
            (self.state is None or self._has_state(record))
            and (self.lane is None or self.lane in record.lane.name)
            and (self.task is None or self.task in record.task_names)
            and (self.account is None or self.account == record.lane.account)
        )

    def _has_state(self, record: BatchRecord) -> bool:
        match self.state:
            case "open":
                return record.state != "closed"
            case "dead":
                return record.dead_at > 0
            case _:
                return self.state in {record.state, record.status}


@command()
@click.option(
    "--state",
    type=click.Choice(["open", "dead", *_STATES, *STATUSES]),
    help="Only those in this state, or with this status at the provider.",
)
@click.option("--lane", help="Only those whose lane has this in its name.")
@click.option("--task", help="Only those with prompts of the task of this name.")
@click.option("--account", help="Only those of this provider account.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many; 0: all."
)
def batches(to: Terminal, /, limit: int, **wanted: str | None) -> Exit:
    """Batches, newest first.

    Those that are open, and those that ended within batchq_keep_batches (a week).
    """
    chosen = Filter(**wanted)
    found = (one for one in all_batches(journal_of(to.app)) if chosen.takes(one))
    records = list(islice(found, limit or None))
    if to.as_json:
        to.give({"batches": [shapes.batch(one) for one in records]})
    elif records:
        show_batches(to, records)
        if limit and next(found, None) is not None:
            to.note(f"there are more; --limit 0 shows all of them, this is the newest {limit:,}")
    else:
        to.note("there is no such batch")
    return Exit.FINE


def all_batches(journal: Journal) -> Iterator[BatchRecord]:
    """Every batch the journal knows: the open ones, then the closed, each newest first."""
    yield from sorted(journal.batches.open(), key=lambda one: one.sealed_at, reverse=True)
    for some in chunks(journal.batches.closed_ids(_ALL), _PAGE):
        yield from journal.batches.named(some)


def show_batches(to: Terminal, records: Iterable[BatchRecord]) -> None:
    now = journal_of(to.app).clock.now()
    to.show(
        ["BATCH", "STATE", "STATUS", "LANE", ">PROMPTS", ">DONE", ">AGE", ">COST", ">SAVED"],
        (_row(one, now) for one in records),
    )


def _row(record: BatchRecord, now: int) -> list[Any]:
    closed = record.state == "closed"
    bill = Cost.of(record)
    return [
        record.id,
        "dead" if record.dead_at else record.state,
        record.status,
        record.lane.name,
        record.lines,
        record.answered if closed else record.completed + record.failed,
        timedelta(milliseconds=now - record.sealed_at),
        bill.shown if closed else None,
        bill.shown_saved if closed else None,
    ]
