"""What one tick looks at: read where its first part asks for it, and handed on to the others."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property

from batchq.journal import BatchRecord, Journal, LaneRecord

__all__ = ["Glance"]


class Glance:
    """The lanes and open batches at one tick. Not a `Reading`: where a part cannot be read, what
    needs no other goes on.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @cached_property
    def lanes(self) -> list[LaneRecord]:
        return self._journal.lanes.all()

    @cached_property
    def batches(self) -> list[BatchRecord]:
        return self._journal.batches.open()

    def overdue(self, by: timedelta) -> list[BatchRecord]:
        """The open batches whose next step is that late, and under way with nobody."""
        late = self._journal.batches.lateness()
        return [one for one in self.batches if one.id in late and late[one.id] >= by]
