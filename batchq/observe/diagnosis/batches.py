"""Whether each open batch gets on: its next step is taken, and it is submitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from batchq.common.words import first_few
from batchq.observe.diagnosis.finding import Finding, problem, warning

if TYPE_CHECKING:
    from batchq.journal import BatchRecord
    from batchq.observe.diagnosis.seen import Seen

__all__ = ["NOT_SUBMITTED", "NOT_TAKEN", "batches"]

NOT_TAKEN = timedelta(minutes=10)
"""How late a step of a batch is that nobody takes. docs/prometheus/alerts.yml has the same."""

NOT_SUBMITTED = timedelta(minutes=30)
"""After so long a batch is submitted, or its provider does not take it. Likewise."""


def batches(seen: Seen) -> Iterator[Finding]:
    """What was set aside is dead, and told of as that."""
    if seen.reading is None:
        return
    late, at = seen.reading.late, seen.reading.at
    open_ones = [one for one in seen.reading.batches if not one.dead_at]
    left = [one for one in open_ones if late.get(one.id, _NONE) > NOT_TAKEN]
    if left:
        longest = max(late[one.id] for one in left)
        what = f"nobody takes the next step of {_named(left)}"
        queue = seen.settings.queue
        do = f"see to it that a worker consumes the queue {queue!r}, and look at its log"
        since = at - longest // _MILLISECOND
        yield problem(what, do, since=since, path=f"batch/{left[0].id}")
    waits = [one for one in open_ones if one.state in _BEFORE and _age(one, at) > NOT_SUBMITTED]
    if unsent := [one for one in waits if one not in left]:
        what = f"{_named(unsent)} {'is' if len(unsent) == 1 else 'are'} not submitted yet"
        do = "`show` says what the provider says of it; it is tried again"
        since = min(one.sealed_at for one in unsent)
        yield warning(what, do, since=since, path=f"batch/{unsent[0].id}")


_NONE = timedelta(0)
_MILLISECOND = timedelta(milliseconds=1)
_BEFORE = frozenset({"sealed", "uploaded"})


def _age(batch: BatchRecord, at: int) -> timedelta:
    return timedelta(milliseconds=at - batch.sealed_at)


def _named(some: Sequence[BatchRecord]) -> str:
    return f"{'batch' if len(some) == 1 else 'batches'} {first_few([one.id for one in some])}"
