"""Pause: an account can do nothing for a while, and no prompt fails by it.

A step that meets such a trouble pauses the account before it gives its prompts back: what is back
in a lane while the account goes on would be sent again at once, and whole. Flush sends a small
batch (the probe) whenever a pause is over; where that gets through, the account goes on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from batchq.common.points import point
from batchq.common.troubles import BECAUSE, Trouble
from batchq.common.words import span
from batchq.decide.pause import account_pauses
from batchq.decide.trouble import in_call
from batchq.errors import ProviderRefused
from batchq.journal import BatchRecord, journal_of
from batchq.observe import emit
from batchq.settings.config import settings

if TYPE_CHECKING:
    from celery import Celery

__all__ = [
    "call_answered",
    "call_refused",
    "get_through",
    "is_paused",
    "pause",
    "polled",
    "release",
]

logger = logging.getLogger("batchq.pause")


def is_paused(app: Celery[Any], record: BatchRecord) -> bool:
    """True where a batch is not to be sent: its account is paused, and it is not the probe."""
    paused = journal_of(app).pauses.get(record.lane.account)
    return paused is not None and paused.probe != record.id


def pause(
    app: Celery[Any], record: BatchRecord, trouble: Trouble, *, met_in: str, anew: bool = False
) -> None:
    """A batch has met a trouble of its account. One that is paused already stays so; where the
    batch is the probe the pause grows, or begins ``anew`` where some of it got through.
    """
    journal, lane = journal_of(app), record.lane
    pauses = account_pauses(settings(app))
    point("pause.call")
    word = journal.pauses.begin(
        lane, trouble, batch=record.id, met_in=met_in, pauses=pauses, anew=anew
    )
    point("pause.called")
    if word == "ALREADY":
        return
    known = journal.pauses.get(lane.account)
    logger.log(
        logging.WARNING if word == "BEGUN" else logging.INFO,
        "account %s is %s, because %s (%s); a small batch tries in %s",
        *(lane.account, "paused" if word == "BEGUN" else "still paused"),
        *(BECAUSE[trouble.reason], trouble.code),
        span(pauses[0] if known is None else known.next_try),
        extra={"action": "pause", **_ids(record)},
    )
    if word == "BEGUN":
        emit.tell_paused(app, record, trouble)


def call_refused(app: Celery[Any], record: BatchRecord, error: Exception) -> Trouble | None:
    """Pause the account where a refused call says that it can do nothing; returns why."""
    trouble = in_call(error) if isinstance(error, ProviderRefused) else None
    if trouble is not None and isinstance(error, ProviderRefused):
        pause(app, record, trouble, met_in=error.call)
    return trouble


def call_answered(app: Celery[Any], record: BatchRecord, call: str) -> None:
    """A call that sends nothing was answered: where it was the one that was refused, that is over,
    also where nothing waits that could try.
    """
    paused = journal_of(app).pauses.get(record.lane.account)
    if paused is not None and paused.met_in == call:
        _go_on(app, record)


def polled(app: Celery[Any], record: BatchRecord, *, passed: bool, runs_well: bool) -> None:
    """A poll was answered, of a batch that has ``passed`` its validation, or not; ``runs_well``
    where some of its rows are through and none has failed.
    """
    paused = journal_of(app).pauses.get(record.lane.account)
    if paused is None:
        return
    if paused.met_in == "batches.retrieve":
        _go_on(app, record)
    elif paused.probe == record.id and (runs_well if paused.met_in == "rows" else passed):
        # What is met before anything runs is over once it runs; a batch may take a day from there.
        get_through(app, record)


def get_through(app: Celery[Any], record: BatchRecord) -> None:
    """A batch has got past what stops an account that is paused: if it is the probe, all go on."""
    _go_on(app, record, probe=record.id)


def release(app: Celery[Any], account: str) -> bool:
    """An operator lets an account go on; False where it is not paused."""
    return _end(app, account, extra={"account": account})


def _go_on(app: Celery[Any], record: BatchRecord, *, probe: str = "") -> None:
    _end(app, record.lane.account, probe=probe, extra=_ids(record))


def _end(app: Celery[Any], account: str, *, extra: dict[str, str], probe: str = "") -> bool:
    since = journal_of(app).pauses.end(account, probe=probe)
    if since is None:
        return False
    logger.warning("account %s goes on", account, extra={"action": "pause", **extra})
    emit.tell_account_goes_on(app, account, since=since)
    return True


def _ids(record: BatchRecord) -> dict[str, str]:
    return {"batch": record.id, "lane": record.lane.name, "account": record.lane.account}
