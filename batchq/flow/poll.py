"""Poll: ask the provider how a batch is, and take the next step."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.config import settings
from batchq.errors import ConfigurationError, ProviderError, ProviderNotFound
from batchq.flow.steps import Next, not_yet, wake
from batchq.journal import BatchRecord, journal_of
from batchq.lease import Lease
from batchq.lifecycle import Cancel, Fetch, Wait, after_poll, pause_between_polls
from batchq.provider import provider_for

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["poll"]

logger = logging.getLogger("batchq.poll")

_LOST_AFTER = 3
"""How often in a row, at least, a batch is unknown to its provider before it counts as gone."""


def poll(app: Celery[Any], batch_id: str, chain: str) -> None:
    """Ask for one batch, once. Only the newest chain of polls goes on; an older one ends here."""
    config, journal = settings(app), journal_of(app)
    record = journal.batch(batch_id)
    if record is None or record.state != "submitted" or record.chain != chain:
        return
    if early := not_yet(app, batch_id):
        wake(app, Next("poll", (batch_id, chain), early))
        return
    with journal.lease("batch", batch_id, config.batch_lease) as lease:
        if lease is None:
            return
        following = _ask(app, record, lease)
    wake(app, following)


def _ask(app: Celery[Any], record: BatchRecord, lease: Lease) -> Next:
    config, journal, batch_id = settings(app), journal_of(app), record.id
    age = timedelta(milliseconds=journal.now() - record.submitted_at)
    fields: dict[str, Any] = {}
    try:
        provider = provider_for(config, record.lane.account)
        batch = provider.retrieve(record.provider_id)
        fields = {
            "status": batch.status,
            "completed": batch.completed,
            "failed": batch.failed,
            "looks": 0,
            "missing_since": 0,
        }
        step = after_poll(batch, age=age, settings=config)
        if isinstance(step, Cancel):
            batch = provider.cancel(record.provider_id)
            step = Wait(step.delay)
    except ProviderNotFound as error:
        now = journal.now()
        since = record.missing_since or now
        fields |= {"looks": record.looks + 1, "missing_since": since, "note": str(error)}
        # A key that was changed by mistake finds no batch either: give its owner some time.
        long = timedelta(milliseconds=now - since) >= config.files_grace
        gone = long and record.looks + 1 >= _LOST_AFTER
        step = Fetch() if gone else Wait(pause_between_polls(age, config))
    except (ProviderError, ConfigurationError) as error:
        logger.warning("batch %s: %s", batch_id, error, extra={"action": "poll", "batch": batch_id})
        fields |= {"note": str(error)}
        step = Wait(pause_between_polls(age, config))
    return _take(app, record, lease, step, fields)


def _take(
    app: Celery[Any], record: BatchRecord, lease: Lease, step: Wait | Fetch, fields: dict[str, Any]
) -> Next:
    journal = journal_of(app)
    logger.info(
        "batch %s is %s",
        *(record.id, fields.get("status", "not known")),
        extra={"action": "poll", "batch": record.id},
    )
    if isinstance(step, Wait):
        # A new link of the chain, so that a doubled message ends at its next poll.
        chain = uuid.uuid4().hex
        journal.advance(record.id, lease, due=step.delay, chain=chain, **fields)
        return Next("poll", (record.id, chain), step.delay)
    fields |= {"state": "finished", "finished_at": journal.now(), "looks": 0}
    journal.advance(record.id, lease, due=timedelta(0), **fields)
    return Next("fetch", (record.id,))
