"""Adopt: batches of ours that are at the provider, and that the journal has lost.

A Redis that was emptied, or that came back without its last writes, knows nothing of batches that
are paid for. Before anything is sealed on such a Redis the provider's lists are looked through.
What is ours is written down again: it is polled and fetched as any other, and each of its lines
serves the next prompt that asks the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import redis

from batchq.decide.adopt import search_is_due
from batchq.decide.poll import is_over
from batchq.errors import (
    ConfigurationError,
    ProviderError,
    ProviderNotFound,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnauthorized,
)
from batchq.flow.mishaps import apart
from batchq.flow.resume import resume
from batchq.flow.runner import Next, wake
from batchq.journal import Epoch, Journal, Search, chunks, journal_of
from batchq.observe import emit
from batchq.prompt import Lane, Prompt, fingerprint
from batchq.provider.client import Provider, provider_for
from batchq.provider.descriptions import ProviderBatch
from batchq.settings.config import settings

if TYPE_CHECKING:
    from celery import Celery

    from batchq.settings.record import Settings

__all__ = ["EPOCH", "INSTALLATION", "epoch_of", "look_for_lost", "reuse_asked"]

logger = logging.getLogger("batchq.adopt")

EPOCH, INSTALLATION = "batchq_epoch", "batchq_installation"
"""The metadata that say whose a batch is: of which journal, and of which installation."""

_LINES = 500
_NOT_THE_BATCH_S = (ProviderError, ConfigurationError)


def epoch_of(app: Celery[Any]) -> Epoch:
    """Which journal this is. One that was lost is in the log, once for each process."""
    epoch = journal_of(app).adoption.epoch()
    if epoch.lost:
        logger.error(
            "the journal in Redis %s was lost: somebody has emptied it, or it started without its "
            "data. Send the tasks that waited again; batches under way are looked for at the "
            "provider, and what they have answered is not paid for again",
            settings(app).shown_redis_url,
            extra={"action": "adopt"},
        )
    return epoch


def look_for_lost(app: Celery[Any]) -> tuple[str, set[str]]:
    """Look through the accounts, where this is due; returns which journal this is, and the accounts
    that need no look any more.

    It is due once for each journal and each start of its server, and again a little later: a
    provider's list may lag, and a step may have been under way.
    """
    config, journal = settings(app), journal_of(app)
    epoch = epoch_of(app)
    of = "|".join((epoch.id, *sorted(epoch.former), journal.adoption.start_of_server()))
    done: set[str] = set()
    for account in config.accounts:
        last = journal.adoption.search(account)
        if not search_is_due(last, of=of, now=journal.clock.now(), settings=config):
            done.add(account)
        elif not (last.of or epoch.former or config.installation):
            # A new journal: nothing at the provider can be its own.
            journal.adoption.note_search(account, Search(of=of, looks=2, at=journal.clock.now()))
            done.add(account)
        elif _look_through(app, account, epoch, of) or last.of == of:
            done.add(account)
    return epoch.id, done


def _look_through(app: Celery[Any], account: str, epoch: Epoch, of: str) -> bool:
    """Adopt what is ours in one account; False where that is still to be done."""
    config, journal = settings(app), journal_of(app)
    with journal.adoption.search_lease(account) as lease:
        if lease is None:
            return False
        last = journal.adoption.search(account)
        looks = last.looks + 1 if last.of == of else 1
        try:
            provider = provider_for(config, account)
            for batch in provider.batches(since=_back(journal, config.batch_deadline)):
                if _is_ours(journal, config, epoch, batch):
                    with apart(app, f"batch {batch.batch_key}", raising=_NOT_THE_BATCH_S):
                        _compare(app, account, provider, batch)
        except (ProviderThrottled, ProviderUnauthorized) as error:
            return _not_yet(account, error)
        except ProviderRefused as error:
            # Some have no list. They would refuse the next look as well.
            logger.warning(
                "account %s refuses the list of its batches (%s): what the journal may have lost "
                "there is not found, and is paid for again",
                *(account, error),
                extra={"action": "adopt", "account": account},
            )
        except (ProviderError, ConfigurationError) as error:
            return _not_yet(account, error)
        journal.adoption.note_search(account, Search(of=of, looks=looks, at=journal.clock.now()))
    return True


def _not_yet(account: str, error: Exception) -> bool:
    logger.warning(
        "account %s could not be searched for batches that the journal may have lost (%s): "
        "nothing of it is sealed before that; the next flush tries again",
        *(account, error),
        extra={"action": "adopt", "account": account},
    )
    return False


def _back(journal: Journal, duration: timedelta) -> datetime:
    return datetime.fromtimestamp(journal.clock.now() / 1000, tz=UTC) - duration


def _is_ours(journal: Journal, config: Settings, epoch: Epoch, batch: ProviderBatch) -> bool:
    """True for a batch of this journal, or of one that stood here before and was lost.

    An account may be shared: what another installation has sent is not to be touched.
    """
    if batch.batch_key is None:
        return False
    of = batch.metadata.get(EPOCH)
    if of == epoch.id:
        # What was closed in order is forgotten after a while.
        since = _back(journal, min(config.keep_batches, config.batch_deadline))
        return batch.created_at is not None and batch.created_at > since
    known = config.installation is not None
    return of in epoch.former or (known and batch.metadata.get(INSTALLATION) == config.installation)


def _compare(app: Celery[Any], account: str, provider: Provider, batch: ProviderBatch) -> None:
    """Hold one batch of ours against the journal."""
    journal, batch_id = journal_of(app), str(batch.batch_key)
    record = journal.batches.get(batch_id)
    if record is None:
        _adopt(app, account, provider, batch)
    elif not record.provider_id:
        # It is lost that it was created, or about to be: let its next step look for it.
        with journal.batches.lease(batch_id) as lease:
            if lease is not None and record.state == "uploaded" and not record.create_intent_at:
                journal.batches.advance(
                    batch_id, lease, due=timedelta(0), create_intent_at=record.sealed_at
                )
    elif record.provider_id != batch.id and not is_over(batch):
        logger.error(
            "batch %s stands twice at the provider; %s is cancelled, and what it has answered by "
            "then is paid for",
            *(batch_id, batch.id),
            extra={"action": "adopt", "batch": batch_id},
        )
        provider.cancel(batch.id)


def _adopt(app: Celery[Any], account: str, provider: Provider, batch: ProviderBatch) -> None:
    config, journal, batch_id = settings(app), journal_of(app), str(batch.batch_key)
    if is_over(batch) and (not batch.output_file_id or not config.delete_files):
        # Without answers, or nobody can tell whether they were read: files that were are deleted.
        return
    lane, count = None, 0
    try:
        rows = provider.rows(batch.input_file_id) if batch.input_file_id else iter(())
        for lines in chunks(_asked(rows), _LINES):
            lane = lane or _lane(config, account, batch, lines[0])
            journal.adoption.note_lines(
                batch_id, lane, [(line_id, asks) for line_id, asks, *_ in lines]
            )
            count += len(lines)
    except ProviderNotFound:
        return  # It was read, and its files are deleted.
    if lane is None:
        return
    created = int(batch.created_at.timestamp() * 1000) if batch.created_at else journal.clock.now()
    adopted = journal.adoption.adopt(
        batch_id,
        lane,
        state="submitted",
        lines=count,
        bytes=0,
        tokens=0,
        sealed_at=created,
        submitted_at=created,
        provider_id=batch.id,
        input_file_id=batch.input_file_id or "",
        chain="adopted",
    )
    if adopted:
        logger.warning(
            "batch %s of %d lines was lost from the journal and is found at the provider, as %s; "
            "it is polled and read as any other",
            *(batch_id, count, batch.id),
            extra={"action": "adopt", "batch": batch_id, "lane": lane.name},
        )
        emit.tell_adopted(app, batch_id)
        wake(app, Next("poll", (batch_id, "adopted")))


Asked = tuple[str, str, str, str]
"""A line of an input file: custom id, fingerprint, endpoint, model."""


def _asked(rows: Iterable[bytes]) -> Iterator[Asked]:
    for row in rows:
        try:
            line = json.loads(row)
            endpoint, body = line["url"], line["body"]
            found = line["custom_id"], fingerprint(endpoint, body), endpoint, body["model"]
            if all(isinstance(part, str) for part in found):
                yield found
        except (ValueError, LookupError, TypeError, RecursionError):
            continue


def _lane(config: Settings, account: str, batch: ProviderBatch, first: Asked) -> Lane:
    _, _, endpoint, model = first
    try:
        lane = Lane.from_name(batch.metadata.get("lane", ""))
    except ValueError:
        lane = None
    if lane is None or (lane.endpoint, lane.model) != (endpoint, model):
        # Metadata hold 512 characters: of a longer name the label is lost, and its prompts are
        # asked anew.
        return Lane(account=account, endpoint=endpoint, model=model)
    return lane if lane.account in config.accounts else replace(lane, account=account)


# Prompts that ask what an adopted batch has asked


def reuse_asked(app: Celery[Any], prompts: Sequence[Prompt]) -> None:
    """Give prompts that were captured just now what is paid for already, where there is any."""
    journal = journal_of(app)
    try:
        asked = [(prompt.custom_id, prompt.lane, prompt.fingerprint) for prompt in prompts]
        if ready := journal.adoption.reuse(asked):
            resume(app, ready)
    except redis.RedisError as error:
        # They stay in their lanes, and are looked at again when those are sealed.
        logger.warning(
            "it could not be looked up whether lost batches have answered these "
            "prompts (%s); they wait in their lanes, and it is looked up again before "
            "they are sealed",
            type(error).__name__,
            extra={"action": "adopt"},
        )
