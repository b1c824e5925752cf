"""Whether today stays within its budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from batchq.common.troubles import budget_is_reached
from batchq.decide.budget import budget_reached, cost_under_way
from batchq.observe.diagnosis.finding import Finding, info, warning

if TYPE_CHECKING:
    from decimal import Decimal

    from batchq.journal import BatchRecord, Sums
    from batchq.observe.diagnosis.seen import Seen
    from batchq.prompt import Lane

__all__ = ["Bill", "bill_of", "budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a day has cost, and may cost with what is under way. Nano-dollars."""

    spent: int
    under_way: int
    budget: int

    @property
    def percent(self) -> int | None:
        """The highest percentage that is told, of those that were reached."""
        return budget_reached(self.spent + self.under_way, budget=self.budget)


def bill_of(
    dollars: Decimal, today: Sums, batches: Iterable[BatchRecord], sums: Mapping[Lane, Sums]
) -> Bill:
    """Today's bill against a budget of so many dollars."""
    under_way = cost_under_way(batches, sums)
    return Bill(spent=today.cost, under_way=under_way, budget=int(dollars * 10**9))


def budget(seen: Seen) -> Iterator[Finding]:
    reading, dollars = seen.reading, seen.settings.budget
    if reading is None or dollars is None:
        return
    bill = bill_of(dollars, reading.today, reading.batches, reading.sums)
    if bill.percent is None:
        return
    day = datetime.fromtimestamp(reading.at / 1000, tz=UTC).date().isoformat()
    what = budget_is_reached(bill.percent, bill.budget, day)
    do = "nothing is stopped by it: hold lanes, or raise batchq_budget"
    yield warning(what, do) if bill.percent >= 100 else info(what, do)
