"""What a day costs, and how much of its budget that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from batchq.journal import BatchRecord, Sums
    from batchq.prompt import Lane

__all__ = ["BUDGET_PARTS", "budget_reached", "cost_under_way"]


def cost_under_way(batches: Iterable[BatchRecord], sums: Mapping[Lane, Sums]) -> int:
    """What these batches may cost, at what a prompt of their lane has cost on the average so far; 0
    for a lane that has brought nothing yet.
    """
    found = 0
    for batch in batches:
        known = sums.get(batch.lane)
        if known is not None and known.attempts and batch.submitted_at:
            found += known.cost * batch.lines // known.attempts
    return found


def budget_reached(spent: int, *, budget: int) -> int | None:
    """The highest percentage that is told, of those that were reached."""
    return max((each for each in BUDGET_PARTS if 100 * spent >= each * budget), default=None)


BUDGET_PARTS = (80, 100)
"""The percentages of ``batchq_budget`` that are told."""
