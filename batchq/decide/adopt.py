"""Whether an account may hold batches which the journal has lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchq.journal import Search
    from batchq.settings.record import Settings

__all__ = ["search_is_due"]


def search_is_due(last: Search, *, of: str, now: int, settings: Settings) -> bool:
    """True where an account is to be looked through: for the first time ``of`` this journal and
    this start of its server, and once more when a create that was under way must be in the list.
    """
    grace = settings.create_grace.total_seconds() * 1000
    return last.of != of or (last.looks < _SEARCHES and now - last.at >= grace)


_SEARCHES = 2
