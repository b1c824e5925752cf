"""How a step of the journey is taken: under its lease, each item apart; and how it calls the next,
by a Celery task, as a wake-up and no more.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery.exceptions import SoftTimeLimitExceeded

from batchq.common.own_errors import is_ours
from batchq.common.points import point
from batchq.common.seams.queues import delays_whole_seconds
from batchq.errors import BatchqError
from batchq.flow.mishaps import StepFailed, is_passing, reason_of
from batchq.journal import KILLS, is_full, journal_of
from batchq.observe.emit import tell_set_aside
from batchq.observe.own_errors import tell_own_error

if TYPE_CHECKING:
    from celery import Celery

    from batchq.journal.lease import Lease

__all__ = ["Next", "apart", "batch_lease", "not_yet", "wake"]

logger = logging.getLogger("batchq.steps")

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
        if delays_whole_seconds(app):
            seconds = math.ceil(seconds)
        options: dict[str, Any] = {"countdown": seconds} if seconds else {}
        point("wake.publish")
        app.tasks[f"batchq.{step.verb}"].apply_async(step.args, **options)
        point("wake.published")


_NEARLY = timedelta(milliseconds=500)


def not_yet(app: Celery[Any], batch_id: str) -> timedelta | None:
    """How long a step on a batch is still to wait, where its message came before its time."""
    early = journal_of(app).batches.due_in(batch_id)
    return early if early > _NEARLY else None


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


_ENDS_THE_STEP = (SoftTimeLimitExceeded, MemoryError)


@contextmanager
def apart(
    app: Celery[Any], what: str, *, raising: tuple[type[Exception], ...] = (), **ids: str
) -> Generator[None]:
    """One item of many: whatever is wrong with it is logged, and the others go on.

    So it is where Redis has no memory for it. A Redis or a broker that is away concerns all of
    them, and is raised; so is what is in ``raising``. ``ids`` go into the log with it.
    """
    try:
        yield
    except StepFailed:
        return  # It is in the log.
    except Exception as error:
        its_own = isinstance(error, BatchqError) or is_full(error)
        if isinstance(error, (*_ENDS_THE_STEP, *raising)) or (is_passing(error) and not its_own):
            raise
        if is_ours(error):
            tell_own_error(app, what, error, **ids)
            return
        # The class of an error only, unless it is Batchq's: words may repeat what was found there.
        words = f": {error}" if isinstance(error, BatchqError) else ""
        logger.error(  # noqa: TRY400 likewise
            "%s is left out (%s%s)",
            *(what, type(error).__name__, words),
            extra={"action": "leave-out", **ids},
        )
