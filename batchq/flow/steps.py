"""How one step of the journey calls the next: by a Celery task, as a wake-up and no more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.journal import journal_of

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["Next", "not_yet", "wake"]

LONGEST_COUNTDOWN = timedelta(seconds=30)
"""A Redis broker delivers a message twice that is held longer than its visibility timeout, so a
step that is due later than this is woken early, and only re-arms itself."""


@dataclass(frozen=True, slots=True)
class Next:
    """The step that follows, once the lease of this one is given up."""

    verb: str
    args: tuple[Any, ...]
    delay: timedelta = timedelta(0)


def wake(app: Celery[Any], step: Next | None) -> None:
    """Send a step's message. It may be lost or doubled: rescue finds what nobody moves."""
    if step is not None:
        seconds = min(max(step.delay, timedelta(0)), LONGEST_COUNTDOWN).total_seconds()
        options: dict[str, Any] = {"countdown": seconds} if seconds else {}
        app.tasks[f"batchq.{step.verb}"].apply_async(step.args, **options)


_NEARLY = timedelta(milliseconds=500)


def not_yet(app: Celery[Any], batch_id: str) -> timedelta | None:
    """How long a step on a batch is still to wait, where its message came before its time."""
    early = journal_of(app).due_in(batch_id)
    return early if early > _NEARLY else None
