"""How a step on a batch is taken: written once, for all of them.

Its message is a wake-up and no more. Under the batch's lease its record is read; where it is in one
of the states that the step takes, and its time has come, the step does its work, in a span; what
follows is woken once the lease is given up.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Container, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.common.own_errors import is_ours
from batchq.common.points import point
from batchq.common.seams.queues import delays_whole_seconds
from batchq.decide.countdown import LONGEST_COUNTDOWN
from batchq.flow.mishaps import StepFailed, is_passing, reason_of
from batchq.journal import KILLS, BatchRecord, Journal, journal_of
from batchq.observe.emit import tell_set_aside
from batchq.observe.own_errors import tell_own_error
from batchq.observe.tracing import traced_step
from batchq.settings.config import settings
from batchq.settings.record import Settings

if TYPE_CHECKING:
    from celery import Celery

    from batchq.journal.lease import Lease

__all__ = ["Next", "Work", "batch_lease", "take", "wake"]

logger = logging.getLogger("batchq.steps")


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
        if delays_whole_seconds(app):
            seconds = math.ceil(seconds)
        options: dict[str, Any] = {"countdown": seconds} if seconds else {}
        point("wake.publish")
        app.tasks[f"batchq.{step.verb}"].apply_async(step.args, **options)
        point("wake.published")


_NEARLY = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One step on one batch, while its lease is held: what it works with."""

    app: Celery[Any]
    settings: Settings
    journal: Journal
    record: BatchRecord
    lease: Lease

    @property
    def ids(self) -> dict[str, str]:
        """What each line in the log about it carries."""
        return {"batch": self.record.id, "lane": self.record.lane.name}

    def not_yet(self) -> timedelta | None:
        """How long it is still to wait, where its message came before its time."""
        early = self.journal.batches.due_in(self.record.id)
        return early if early > _NEARLY else None


def take(
    app: Celery[Any],
    step: Next,
    batch_id: str,
    *,
    states: Container[str],
    do: Callable[[Work], Next | None],
    is_wanted: Callable[[BatchRecord], bool] = lambda _: True,
    is_over: Callable[[Work], bool] = lambda _: False,
    wait: Callable[[Work], timedelta | None] = Work.not_yet,
) -> None:
    """Take a ``step`` on a batch that is in one of these ``states``, and wake the next.

    One that is not wanted any more ends here, and so does one that ``is_over`` before its time
    has come. One that is to ``wait`` is sent again.
    """
    journal = journal_of(app)

    def wanted() -> BatchRecord | None:
        record = journal.batches.get(batch_id)
        if record is None or record.state not in states or not is_wanted(record):
            return None
        return record

    if wanted() is None:
        return  # A message that comes twice is not to keep the lease from the right one.
    with batch_lease(app, batch_id) as lease:
        record = wanted()
        if lease is None or record is None:
            return
        work = Work(app=app, settings=settings(app), journal=journal, record=record, lease=lease)
        if is_over(work):
            return
        if pause := wait(work):
            following: Next | None = replace(step, delay=pause)
        else:
            with traced_step(step.verb, journal, record):
                following = do(work)
    wake(app, following)


@contextmanager
def batch_lease(app: Celery[Any], batch_id: str) -> Generator[Lease | None]:
    """The lease of a batch; that the batch is set aside by it, or was just now, is told once."""
    with journal_of(app).batches.lease(batch_id) as lease:
        if lease is None:
            tell_set_aside(app, batch_id)
        try:
            yield lease
        except Exception as error:
            if lease is None or is_passing(error):
                raise
            _count_failure(app, batch_id, lease, error)
            raise StepFailed(batch_id, reason_of(error)) from error


def _count_failure(app: Celery[Any], batch_id: str, lease: Lease, error: Exception) -> None:
    """A step on a batch has raised what it would raise again."""
    if is_ours(error):
        tell_own_error(app, f"a step on batch {batch_id}", error, batch=batch_id)
    reason = f"{KILLS} steps on it failed, the last one with {reason_of(error)}"
    word, times = journal_of(app).batches.set_aside(
        batch_id, lease, reason, code="step_failed", after=KILLS
    )
    logger.error(
        "a step on batch %s failed, %s (%s)",
        *(batch_id, _AFTER_A_FAILURE[word], reason_of(error)),
        exc_info=error if times <= 1 and not is_ours(error) else None,
        extra={"action": "set-aside", "batch": batch_id},
    )
    if word == "DEAD":
        tell_set_aside(app, batch_id)


_AFTER_A_FAILURE = {
    "FAILED": "and rescue sends it again; everything else goes on",
    "DEAD": f"as did the {KILLS - 1} before it: the batch is set aside until somebody retries it",
    "LOST": "and another has its lease by now",
}
