"""Poll: ask the provider how a batch is, and take the next step."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.common.points import point
from batchq.decide.poll import Cancel, Fetch, News, Wait, after_poll, is_over, pause_between_polls
from batchq.errors import ConfigurationError, ProviderError, ProviderNotFound
from batchq.flow.pause import call_refused, polled
from batchq.flow.runner import Next, Work, take
from batchq.observe import emit
from batchq.observe.tracing import step_failed
from batchq.provider.client import provider_for

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["poll"]

logger = logging.getLogger("batchq.poll")

_PASSED = frozenset({"in_progress", "finalizing", "completed", "expired"})
"""What a batch is once its file has passed validation."""

_LOST_AFTER = 3
"""How often in a row, at least, a batch is unknown to its provider before it counts as gone."""


def poll(app: Celery[Any], batch_id: str, chain: str) -> None:
    """Ask for one batch, once. Only the newest chain of polls goes on; an older one ends here."""
    take(
        app,
        Next("poll", (batch_id, chain)),
        batch_id,
        states={"submitted"},
        is_wanted=lambda record: record.chain == chain,
        do=_ask,
    )


def _ask(work: Work) -> Next:
    app, config, journal, record = work.app, work.settings, work.journal, work.record
    now = journal.clock.now()
    age = timedelta(milliseconds=now - record.submitted_at)
    told = timedelta(milliseconds=now - record.told_at) if record.told_at else None
    # What another batch's webhook says counts only once the provider has answered.
    news = News(batch=told)
    fields: dict[str, Any] = {}
    try:
        provider = provider_for(config, record.lane.account)
        point("poll.call")
        batch = provider.retrieve(record.provider_id)
        point("poll.called")
        fields = {
            "status": batch.status,
            "completed": batch.completed,
            "failed": batch.failed,
            "looks": 0,
            "missing_since": 0,
        }
        if record.origin and not record.passed and batch.status in _PASSED:
            journal.batches.passed(record)
        runs_well = batch.status == "in_progress" and batch.completed > 0 and not batch.failed
        polled(app, record, passed=batch.status in _PASSED, runs_well=runs_well)
        journal.batches.note_object(record.id, batch.object)
        if batch.expires_at is not None:
            fields["expires_at"] = int(batch.expires_at.timestamp() * 1000)
        cancelled = record.cancel_at > 0
        if is_over(batch):
            journal.webhooks.note_end(record.lane.account, told=told is not None)
        news = News(batch=told, account=journal.webhooks.since(record.lane.account))
        step = after_poll(batch, age=age, settings=config, cancelled=cancelled, news=news)
        if isinstance(step, Cancel):
            point("cancel.call")
            batch = provider.cancel(record.provider_id)
            point("cancel.called")
            step = Wait(step.delay)
    except ProviderNotFound as error:
        now = journal.clock.now()
        since = record.missing_since or now
        fields |= {"looks": record.looks + 1, "missing_since": since, "note": str(error)}
        # A key that was changed by mistake finds no batch either: give its owner some time.
        long = timedelta(milliseconds=now - since) >= config.files_grace
        gone = long and record.looks + 1 >= _LOST_AFTER
        step = Fetch() if gone else Wait(pause_between_polls(age, config, news))
    except (ProviderError, ConfigurationError) as error:
        logger.warning(
            "batch %s could not be polled (%s); the next poll tries again",
            record.id,
            error,
            extra={"action": "poll", **work.ids},
        )
        step_failed(error)
        call_refused(app, record, error)
        fields |= {"note": str(error)}
        step = Wait(pause_between_polls(age, config, news))
    return _follow(work, step, fields)


def _follow(work: Work, step: Wait | Fetch, fields: dict[str, Any]) -> Next:
    app, journal, record, lease = work.app, work.journal, work.record, work.lease
    logger.info(
        "batch %s is %s",
        *(record.id, fields.get("status", "not known")),
        extra={"action": "poll", **work.ids},
    )
    if isinstance(step, Wait):
        # A new link of the chain, so that a doubled message ends at its next poll.
        chain = uuid.uuid4().hex
        told_at, delay = record.told_at, step.delay
        word = journal.batches.advance(
            record.id, lease, due=delay, told_at=told_at, chain=chain, **fields
        )
        point("poll.recorded")
        emit.tell_changed(app, record, fields)
        return Next("poll", (record.id, chain), timedelta(0) if word == "TOLD" else delay)
    fields |= {"state": "finished", "finished_at": journal.clock.now(), "looks": 0}
    point("ready.record")
    journal.batches.advance(record.id, lease, due=timedelta(0), **fields)
    point("ready.recorded")
    emit.tell_changed(app, record, fields)
    return Next("fetch", (record.id,))
