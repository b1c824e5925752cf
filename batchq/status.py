"""`status`: where everything is, at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchq.journal import BatchRecord, LaneRecord, journal_of

__all__ = ["Status", "status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where the prompts and tasks of an app are.

    ``captured`` and ``answered`` count prompts since the journal began; ``waiting`` are in lanes,
    ``batched`` in batches that are not over. ``tasks_waiting`` wait for answers, ``tasks_resuming``
    have all of theirs and are on their way.
    """

    captured: int
    waiting: int
    batched: int
    answered: int
    tasks_waiting: int
    tasks_resuming: int
    lanes: tuple[LaneRecord, ...]
    batches: tuple[BatchRecord, ...]


def status(app: Any) -> Status:
    """Where everything is. The figures are read one by one, so they may be a moment apart."""
    journal = journal_of(app)
    lanes, batches, counters = journal.lanes(), journal.open_batches(), journal.counters()
    captured, answered = counters.get("captured", 0), counters.get("answered", 0)
    waiting = sum(lane.prompts for lane in lanes)
    return Status(
        captured=captured,
        waiting=waiting,
        batched=sum(batch.lines for batch in batches),
        answered=answered,
        tasks_waiting=journal.waiting_tasks(),
        tasks_resuming=journal.resuming_tasks(),
        lanes=tuple(lanes),
        batches=tuple(batches),
    )
