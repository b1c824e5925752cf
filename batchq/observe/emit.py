"""Notices: where the steps of the journey say what they have done.

Each function here is called after what happened is in the journal, and stops nothing: without
Redis, or with rubbish in it, somebody is told less, and the step goes on.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec

from celery.exceptions import SoftTimeLimitExceeded

from batchq.common.own_errors import is_ours
from batchq.decide.poll import why_failed
from batchq.events import (
    AccountGoesOn,
    AccountPaused,
    BatchAdopted,
    BatchChanged,
    BatchEmptied,
    BatchFailed,
    BatchFinished,
    BatchSealed,
    BatchSetAside,
    BatchSubmitted,
    BatchWoken,
    Event,
    LimitReached,
    Reason,
    TaskDead,
    TasksRescued,
)
from batchq.journal import KILLS, BatchRecord, journal_of
from batchq.observe.own_errors import tell_own_error
from batchq.settings.config import behind, settings
from batchq.signals import SIGNALS

if TYPE_CHECKING:
    from celery import Celery

    from batchq.common.troubles import Trouble
    from batchq.provider.descriptions import BatchErrorLine

__all__ = [
    "stops_nothing",
    "tell",
    "tell_account_goes_on",
    "tell_adopted",
    "tell_changed",
    "tell_dead_task",
    "tell_emptied",
    "tell_ended",
    "tell_no_room",
    "tell_not_taken",
    "tell_paused",
    "tell_rescued",
    "tell_sealed",
    "tell_set_aside",
    "tell_submitted",
    "tell_throttled",
    "tell_unsent_task",
    "tell_woken",
]

logger = logging.getLogger("batchq.notices")

_HOUR = timedelta(hours=1)
_NONE = timedelta(0)
_CODES = 5
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")

P = ParamSpec("P")


def tell(app: Celery[Any], event: Event) -> None:
    """Write an event into the journal's stream, and send its signal if it has one.

    At most once: who dies before or between them takes the rest along.
    """
    _write_down(app, event)
    signal = SIGNALS.get(type(event))
    if signal is not None:
        # Receivers are connected to the app itself.
        signal.send(sender=behind(app), event=event)


def stops_nothing(told: Callable[P, None]) -> Callable[P, None]:
    """What it tells is told where that can be, and where not its caller goes on all the same."""

    @functools.wraps(told)
    def told_safely(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            told(*args, **kwargs)
        except (SoftTimeLimitExceeded, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 whatever it is, the step has been taken
            if is_ours(error):
                app: Any = args[0]
                tell_own_error(app, f"what happened ({told.__name__})", error)
                return
            # The class only: its words may repeat what was found in Redis.
            logger.warning(
                "an event could not be written or sent (%s, %s); what it tells of has happened "
                "all the same",
                *(told.__name__, type(error).__name__),
                extra={"action": "tell"},
            )

    return told_safely


@stops_nothing
def _write_down(app: Celery[Any], event: Event) -> None:
    journal_of(app).events.note(event)


# Batches


@stops_nothing
def tell_sealed(app: Celery[Any], batch: BatchRecord) -> None:
    tell(app, BatchSealed(at=_time(batch.sealed_at), tokens=batch.tokens, **_of(batch)))


@stops_nothing
def tell_submitted(app: Celery[Any], batch_id: str) -> None:
    if (batch := journal_of(app).batches.get(batch_id)) is not None:
        at, tokens = _time(batch.submitted_at), batch.tokens
        tell(app, BatchSubmitted(at=at, provider_id=batch.provider_id, tokens=tokens, **_of(batch)))


@stops_nothing
def tell_changed(app: Celery[Any], batch: BatchRecord, found: Mapping[str, Any]) -> None:
    """A poll that has ``found`` this of a batch is recorded; told is a status that is new."""
    status = found.get("status")
    if status and status != batch.status:
        counts = {"completed": found["completed"], "failed": found["failed"]}
        tell(app, BatchChanged(at=_now(app), status=status, **counts, **_of(batch)))


@stops_nothing
def tell_ended(
    app: Celery[Any], batch_id: str, errors: Iterable[BatchErrorLine] = (), *, paused: bool = False
) -> None:
    """A batch that was submitted is closed. ``errors`` are those of the batch as a whole;
    ``paused`` where they are its account's.
    """
    if (batch := journal_of(app).batches.get(batch_id)) is not None:
        codes = tuple(dict.fromkeys(_word(error.code) for error in errors))[:_CODES]
        reason = why_failed(batch.status, codes, paused=paused)
        if reason is None:
            tell(app, BatchFinished(**_end_of(batch)))
        else:
            tell(app, BatchFailed(reason=reason, codes=codes, **_end_of(batch)))


@stops_nothing
def tell_not_taken(
    app: Celery[Any], batch_id: str, reason: Reason, code: str | None = None
) -> None:
    """A batch is closed that its provider has refused, or that was given up here."""
    if (batch := journal_of(app).batches.get(batch_id)) is not None:
        codes = (_word(code),) if code else ()
        tell(app, BatchFailed(reason=reason, codes=codes, **_end_of(batch)))


@stops_nothing
def tell_emptied(app: Celery[Any], batch: BatchRecord) -> None:
    tell(app, BatchEmptied(at=_now(app), **_of(batch)))


@stops_nothing
def tell_adopted(app: Celery[Any], batch_id: str) -> None:
    if (batch := journal_of(app).batches.get(batch_id)) is not None:
        tell(app, BatchAdopted(at=_now(app), provider_id=batch.provider_id, **_of(batch)))


@stops_nothing
def tell_woken(app: Celery[Any], batch: BatchRecord) -> None:
    tell(app, BatchWoken(at=_now(app), state=batch.state, **_of(batch)))


def _word(code: str | None) -> str:
    # What is no word may be a sentence, and that may repeat a prompt.
    return code if code and _CODE.fullmatch(code) else "other"


def _of(batch: BatchRecord) -> dict[str, Any]:
    return {"batch": batch.id, "lane": batch.lane.name, "prompts": batch.lines}


def _end_of(batch: BatchRecord) -> dict[str, Any]:
    return {
        **_of(batch),
        "at": _time(batch.closed_at),
        "provider_id": batch.provider_id,
        "answered": batch.answered,
        "failed": batch.failed_rows,
        "asked_again": batch.asked_again,
        "took": timedelta(milliseconds=max(0, batch.closed_at - batch.sealed_at)),
        "cost": batch.cost,
        "live_cost": batch.live_cost,
        "estimated": batch.estimated,
        "unpriced": batch.unpriced,
    }


# What needs somebody to look at it


@stops_nothing
def tell_set_aside(app: Celery[Any], batch_id: str) -> None:
    journal = journal_of(app)
    batch = journal.batches.get(batch_id)
    if batch is None or not batch.dead_at:
        return
    what, keep = f"dead:{batch_id}:{batch.dead_at}", settings(app).keep_journal
    if journal.events.first_told(what, for_=keep):
        kills, reason = (0, batch.note) if batch.aside else (KILLS, "")
        at = _time(batch.dead_at)
        tell(app, BatchSetAside(at=at, kills=kills, reason=reason, **_of(batch)))


@stops_nothing
def tell_dead_task(app: Celery[Any], task_id: str, name: str) -> None:
    tell(app, TaskDead(at=_now(app), task_id=task_id, name=name, kills=KILLS))


@stops_nothing
def tell_unsent_task(app: Celery[Any], task_id: str, why: str) -> None:
    """A task is set aside, for its message cannot be sent."""
    record = journal_of(app).views.task(task_id)
    name, reason = "" if record is None else record.name, f"set aside: {why}"
    tell(app, TaskDead(at=_now(app), task_id=task_id, name=name, kills=0, reason=reason))


@stops_nothing
def tell_no_room(app: Celery[Any], batch: BatchRecord, limit: int) -> None:
    """The provider had no room for a batch; from now on ``limit`` tokens are queued at most."""
    if _first_this_hour(app, batch, "no_room"):
        tell(app, LimitReached(at=_now(app), reason="no_room", limit=limit, **_whose(batch)))


@stops_nothing
def tell_throttled(app: Celery[Any], batch: BatchRecord, retry_after: timedelta | None) -> None:
    if _first_this_hour(app, batch, "throttled"):
        at, pause = _now(app), retry_after
        tell(app, LimitReached(at=at, reason="throttled", retry_after=pause, **_whose(batch)))


@stops_nothing
def tell_paused(app: Celery[Any], batch: BatchRecord, trouble: Trouble) -> None:
    """The account of a batch is paused."""
    account = batch.lane.account
    if journal_of(app).events.first_told(f"paused:{account}:{trouble.reason}", for_=_HOUR):
        event = AccountPaused(
            at=_now(app),
            account=account,
            reason=trouble.reason,
            code=trouble.code,
            lane=batch.lane.name,
            batch=batch.id,
        )
        tell(app, event)


@stops_nothing
def tell_account_goes_on(app: Celery[Any], account: str, *, since: int) -> None:
    now = _now(app)
    tell(app, AccountGoesOn(at=now, account=account, paused_for=max(now - _time(since), _NONE)))


def _first_this_hour(app: Celery[Any], batch: BatchRecord, reason: str) -> bool:
    what = f"limit:{batch.lane.account}:{batch.lane.model}:{reason}"
    return journal_of(app).events.first_told(what, for_=_HOUR)


def _whose(batch: BatchRecord) -> dict[str, Any]:
    lane = batch.lane
    known = {"account": lane.account, "model": lane.model}
    return {**known, "lane": lane.name, "batch": batch.id}


@stops_nothing
def tell_rescued(app: Celery[Any], tasks: int) -> None:
    tell(app, TasksRescued(at=_now(app), tasks=tasks))


def _now(app: Celery[Any]) -> datetime:
    return _time(journal_of(app).clock.now())


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
