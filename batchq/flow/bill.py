"""The bill of a batch: what its rows used, what they cost, and which failed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from batchq.journal import TURNAROUNDS, Receipt, error_code
from batchq.money.cost import PriceTable, cost_of, usage_of

if TYPE_CHECKING:
    from batchq.journal import BatchRecord
    from batchq.prompt import Outcome
    from batchq.provider.descriptions import Row

__all__ = ["Bill", "bill_of_refusal"]


_SUMMED = ("input_tokens", "cached_tokens", "output_tokens", "cost", "live_cost")
_EXAMPLES = 5
_LONGEST_ID = 500
"""Of an id that is none of ours; a provider's file may hold one of any length."""
_NEVER_RAN = frozenset({"failed", "refused", "given_up"})
_CODES = 50
"""More kinds of errors than that are no kinds."""


class Bill:
    """One reading of a batch's rows, added up. A batch that is read again has a new one."""

    def __init__(self, batch: BatchRecord, table: PriceTable) -> None:
        self._batch = batch
        self._table = table
        self._sums: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    @property
    def rows(self) -> int:
        """How many rows it has heard of, answers and errors."""
        return self._sums["prompts"] + self._codes.total()

    def answered(self, row: Row) -> Receipt:
        """Bill a row that has an answer."""
        usage = usage_of(row.body)
        cost = cost_of(self._batch.lane.model, usage, self._table)
        receipt = Receipt(
            status_code=row.status_code or 0,
            batch=self._batch.id,
            input_tokens=usage.input_tokens if usage else 0,
            cached_tokens=usage.cached_tokens if usage else 0,
            output_tokens=usage.output_tokens if usage else 0,
            cost=cost.batch,
            live_cost=cost.live,
        )
        # One by one: Counter.update is twice as dear, and this is done for each row.
        sums = self._sums
        for name in _SUMMED:
            sums[name] += getattr(receipt, name)
        sums["prompts"] += 1
        sums["estimated"] += cost.estimated
        sums["unpriced"] += cost.unpriced
        return receipt

    def failed(self, custom_id: str, outcome: Outcome) -> None:
        """Count a row that has none."""
        code = error_code(outcome)
        if code not in self._codes and len(self._codes) >= _CODES:
            code = "other"
        self._codes[code] += 1
        examples = self._examples.setdefault(code, [])
        if len(examples) < _EXAMPLES:
            examples.append(custom_id[:_LONGEST_ID])

    def fields(self) -> dict[str, Any]:
        """What the batch's record says of it."""
        codes = {code: [count, self._examples[code]] for code, count in self._codes.items()}
        sums = {name: self._sums[name] for name in (*_SUMMED, "estimated", "unpriced")}
        return {**sums, "failed_rows": self._codes.total(), "codes": json.dumps(codes)}

    def tally(self, *, status: str, asked_again: int) -> dict[str, int]:
        """What is added to the sums of its lane and of the day."""
        found = {**self._sums, "batches": 1, f"status:{status}": 1, "asked_again": asked_again}
        found["failed"] = self._codes.total()
        # Of a file that was refused none has run.
        found["attempts"] = 0 if status in _NEVER_RAN else self._batch.lines
        found |= {f"error:{code}": count for code, count in self._codes.items()}
        if (took := self._batch.turnaround) is not None and status == "completed":
            found["turnaround"] = round(took.total_seconds() * 1000)
            found[f"le:{_class_of(took.total_seconds())}"] = 1
        return {name: count for name, count in found.items() if count}


def bill_of_refusal(batch: BatchRecord, custom_ids: Iterable[str], outcome: Outcome) -> Bill:
    """The bill of a batch that never ran: these prompts of it got one error, for nothing."""
    bill = Bill(batch, PriceTable(own={}))
    for custom_id in custom_ids:
        bill.failed(custom_id, outcome)
    return bill


def _class_of(seconds: float) -> str:
    return next((str(end) for end in TURNAROUNDS if seconds <= end), "more")
