"""Flush: lanes that are full or old enough are sealed into batches; each is uploaded and created.

flush() -> seal each due lane -> flush(batch) for each batch -> upload -> create -> poll
"""

from __future__ import annotations

import json
import logging
import tempfile
import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from batchq.common.points import point
from batchq.decide.flush import is_due, is_due_but_for_its_account
from batchq.decide.pause import probe_limits
from batchq.decide.room import tokens_allowed
from batchq.decide.trouble import in_call
from batchq.errors import (
    BodyLost,
    ConfigurationError,
    JournalUnreadable,
    KeyMissing,
    ProviderError,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnauthorized,
    StorageAway,
)
from batchq.flow.adopt import EPOCH, INSTALLATION, epoch_of, look_for_lost
from batchq.flow.bill import bill_of_refusal
from batchq.flow.mishaps import apart
from batchq.flow.pause import call_answered, call_refused, is_paused
from batchq.flow.resume import answer
from batchq.flow.runner import Next, Work, take, wake
from batchq.journal import AccountPause, BatchRecord, Journal, LaneRecord, chunks, journal_of
from batchq.journal.lease import Lease
from batchq.observe import emit
from batchq.observe.tracing import step_failed, trace_of_step
from batchq.prompt import Lane, Outcome
from batchq.provider.client import Provider, provider_for
from batchq.settings.config import settings

if TYPE_CHECKING:
    from celery import Celery

    from batchq.settings.record import Settings

__all__ = ["flush"]

logger = logging.getLogger("batchq.flush")

_NOW = timedelta(0)
_LOOKS = 3
"""How often the provider's list is looked through before a batch counts as not created."""

_REFUSALS = 6
"""How often the provider may refuse a batch before its prompts get the error."""


def flush(app: Celery[Any], batch_id: str | None = None, *, everything: bool = False) -> None:
    """Seal what is due (or everything that waits); or, with a batch id, submit that batch."""
    # On a Redis that may have forgotten something, what is paid for is looked for first.
    epoch, looked = look_for_lost(app)
    if batch_id is not None:
        _submit(app, batch_id, looked)
        return
    config, journal = settings(app), journal_of(app)
    if everything:
        journal.lanes.call_for_everything()
    for lane in _in_turn(journal.lanes.all()):
        # A lane of an account that is gone from the settings keeps its prompts until it is back.
        known, paused = lane.lane.account in looked, lane.account_pause
        # What late answers have emptied leaves the list of lanes when it is sealed.
        if known and (not lane.prompts or is_due(lane, config) or _may_try(lane, config)):
            with apart(app, f"the lane {lane.lane.name}", lane=lane.lane.name):
                for sealed in _seal(app, lane.lane, epoch, paused):
                    wake(app, Next("flush", (sealed,)))


def _in_turn(lanes: list[LaneRecord]) -> list[LaneRecord]:
    """The lanes, those last in which their account has met its trouble last: it may be of one lane
    alone, and another can try too.
    """
    return sorted(lanes, key=_has_met_it)


def _has_met_it(lane: LaneRecord) -> bool:
    return lane.account_pause is not None and lane.account_pause.lane == lane.lane.name


def _may_try(lane: LaneRecord, config: Settings) -> bool:
    """True where a small batch of a lane may try whether its paused account can go on."""
    paused = lane.account_pause
    over = paused is not None and not paused.next_try
    return over and is_due_but_for_its_account(lane, config)


def _seal(
    app: Celery[Any], lane: Lane, epoch: str, paused: AccountPause | None = None
) -> list[str]:
    """Seal a lane into as many batches as it needs, as far as the provider has room for them; where
    its account is ``paused``, into a small one, if no other tries already.
    """
    config, journal = settings(app), journal_of(app)
    sealed: list[str] = []
    with journal.lanes.lease(lane) as lease:
        point("lane.leased")
        limits = config.accounts[lane.account].limits
        queued = journal.lanes.queued_tokens(lane)
        room = _room(journal, config, lane) - queued
        while lease is not None and (room > 0 or not queued):
            batch_id, count, full = uuid.uuid4().hex, 1, False
            if paused is not None:
                if sealed or not journal.pauses.take_probe(paused, batch_id):
                    break
                limits = probe_limits(limits)
            while count and not full:
                point("seal.call")
                count, full = journal.lanes.seal(
                    lane, batch_id, limits=limits, tokens=room, alone=not queued, epoch=epoch
                )
                point("seal.called")
            record = journal.batches.get(batch_id)
            if record is None:
                break
            sealed.append(batch_id)
            queued += record.tokens
            room -= record.tokens
            logger.info(
                "sealed %d prompts of lane %s into batch %s",
                *(record.lines, lane.name, batch_id),
                extra={"action": "flush", "batch": batch_id, "lane": lane.name},
            )
            emit.tell_sealed(app, record)
    return sealed


def _room(journal: Journal, config: Settings, lane: Lane) -> int:
    """How many tokens may be queued at the provider for this lane's model."""
    limits = config.accounts[lane.account].limits
    return tokens_allowed(limits, lane.model, journal.lanes.learned_limit(lane))


def _submit(app: Celery[Any], batch_id: str, looked: Collection[str]) -> None:
    def wait(work: Work) -> timedelta | None:
        # An account that nobody has looked through may have this batch already.
        unseen = work.record.lane.account in work.settings.accounts.keys() - looked
        return work.not_yet() or (work.settings.poll_first if unseen else None)

    take(
        app,
        Next("flush", (batch_id,)),
        batch_id,
        states={"sealed", "uploaded"},
        is_over=_is_given_back,
        wait=wait,
        do=_upload_and_create,
    )


def _is_given_back(work: Work) -> bool:
    """Give a batch back that is not to be sent, where the provider cannot know it."""
    if work.record.create_intent_at or not _is_to_go_back(work.app, work.record):
        return False
    _Submission(work).give_back(work.record, work.lease)
    return True


def _is_to_go_back(app: Celery[Any], record: BatchRecord) -> bool:
    return record.cancel_at > 0 or is_paused(app, record)


def _upload_and_create(work: Work) -> Next | None:
    try:
        return _Submission(work).run(work.record, work.lease)
    except LeaseLost:
        logger.warning(
            "batch %s was taken over by another worker while this one was held up; this one "
            "leaves it alone",
            work.record.id,
            extra={"action": "flush", **work.ids},
        )
        return None


class _Submission:
    """One batch on its way to the provider, under its lease: upload, create, poll.

    Each effect stands between a recorded intent and its record. Whoever finds an intent without a
    record looks at the provider before doing it again.
    """

    def __init__(self, work: Work) -> None:
        self.app = work.app
        self.config = work.settings
        self.journal = work.journal
        self.batch_id = work.record.id
        self._ids = work.ids

    def give_back(self, record: BatchRecord, lease: Lease, code: str | None = None) -> None:
        """A batch that the provider does not know: an operator has cancelled it, or its account is
        paused, by this ``code`` where it was this batch that met it.
        """
        reason: Literal["cancelled", "paused"] = "cancelled" if record.cancel_at else "paused"
        if reason == "paused":
            self.journal.lanes.call_for_everything(record.lane)
        self.journal.lanes.requeue(record, self.journal.lines.left_in(record.id), use_attempt=False)
        note = f"{_GIVEN_BACK[reason]} before it was sent{'' if code is None else f': {code}'}"
        if self.journal.batches.close(record, lease, status=reason, note=note) == "CLOSED":
            emit.tell_not_taken(self.app, record.id, reason, code)

    def run(self, record: BatchRecord, lease: Lease) -> Next | None:
        try:
            provider = provider_for(self.config, record.lane.account)
            return self._submit(record, lease, provider)
        except ProviderRefused as error:
            return self._refused(record, lease, error)
        except (ProviderError, ConfigurationError) as error:
            # It may have happened: the intent stays, and the next try looks first.
            return self._later(lease, self.config.poll_first, error)
        except (KeyMissing, StorageAway) as error:
            return self._later(lease, self.config.poll_longest, error)

    def _submit(self, record: BatchRecord, lease: Lease, provider: Provider) -> Next | None:
        file_id = record.input_file_id or self._upload(record, lease, provider)
        if file_id is None:
            return None
        found = self._create(self._read(), lease, provider, file_id)
        if not isinstance(found, str):
            return found
        chain = uuid.uuid4().hex
        try:
            self._advance(
                lease,
                self.config.poll_first,
                state="submitted",
                provider_id=found,
                submitted_at=self.journal.clock.now(),
                chain=chain,
                looks=0,
                note="",
                trace=trace_of_step(),
            )
        except LeaseLost:
            # Held up between the look and the create: whoever took over has created one as well.
            if (adopted := self._read().provider_id) and adopted != found:
                self._cancel(provider, [found])
            raise
        point("create.recorded")
        logger.info(
            "batch %s is submitted as %s",
            *(self.batch_id, found),
            extra={"action": "flush", **self._ids},
        )
        emit.tell_submitted(self.app, self.batch_id)
        return Next("poll", (self.batch_id, chain), self.config.poll_first)

    def _upload(self, record: BatchRecord, lease: Lease, provider: Provider) -> str | None:
        name = f"batchq-{record.id}.jsonl"
        file_id = None
        if record.upload_intent_at:
            file_id = provider.find_file(name, since=_time(record.upload_intent_at))
            call_answered(self.app, record, "files.list")
            if file_id is None:
                logger.warning(
                    "the file of batch %s may have been uploaded before a crash, but is not found "
                    "by its name: it is uploaded now",
                    self.batch_id,
                    extra={"action": "flush", **self._ids},
                )
        if file_id is None:
            with tempfile.TemporaryDirectory(prefix="batchq-") as folder:
                path = Path(folder, name)
                tasks = self._write(record, path)
                if tasks is None:
                    note = "nobody waits for any of its prompts"
                    if self.journal.batches.close(record, lease, note=note) == "CLOSED":
                        emit.tell_emptied(self.app, record)
                    return None
                point("upload.intend")
                # If we die after the upload, find_file above finds what we sent.
                known = {"upload_intent_at": self.journal.clock.now(), "tasks": json.dumps(tasks)}
                self._advance(lease, _NOW, **known)
                point("upload.call")
                file_id = provider.upload(path, name=name, expires_after=self.config.file_expiry)
                point("upload.called")
        self._advance(lease, _NOW, state="uploaded", input_file_id=file_id)
        point("upload.recorded")
        return file_id

    def _write(self, record: BatchRecord, path: Path) -> Mapping[str, int] | None:
        """Write the batch file and read it back; None where no line is left. Returns how many of
        its lines each task asks, by the task's name.

        A line that does not read back as it should is taken out and answered with an error: a file
        with one such line would be refused whole.
        """
        while True:
            tasks = Counter[str]()
            with path.open("wb") as file:
                written = [
                    (custom_id, file.write(line))
                    for custom_id, line in self.journal.lines.of(record, tasks)
                ]
            bad = _unreadable(path, written, record.lane.endpoint)
            if not bad:
                return tasks if written else None
            # In this order: a prompt that is in no file and has no answer would wait for good.
            refused = [(custom_id, self._why_bad(custom_id)) for custom_id in bad]
            answer(self.app, record.lane, refused, batch=record.id)
            self.journal.lines.take_out(record.id, bad)

    def _why_bad(self, custom_id: str) -> Outcome:
        try:
            self.journal.views.question(custom_id)
        except BodyLost as error:
            return Outcome.error(500, code="large_body_lost", message=str(error))
        except JournalUnreadable:
            pass  # Likewise what was not JSON to begin with.
        message = "The line of this request could not be read back from the batch file."
        return Outcome.error(400, code="invalid_json_line", message=message)

    def _create(
        self, record: BatchRecord, lease: Lease, provider: Provider, file_id: str
    ) -> str | Next | None:
        """The provider's id of the batch, found or made; or the next look for it, or nothing where
        it is not to be made any more.
        """
        now = self.journal.clock.now()
        if record.create_intent_at:
            since = _time(record.create_intent_at)
            found = provider.find_batches(record.id, since=since)
            call_answered(self.app, record, "batches.list")
            if found:
                oldest, *extra = sorted(found, key=lambda batch: batch.created_at or since)
                self._cancel(provider, [batch.id for batch in extra])
                return oldest.id
            grace = timedelta(milliseconds=now - record.create_intent_at)
            if grace < self.config.create_grace or record.looks + 1 < _LOOKS:
                # The provider's list may lag behind: look again before paying twice.
                pause = max(self.config.create_grace / _LOOKS, timedelta(seconds=1))
                self._advance(lease, pause, looks=record.looks + 1)
                return Next("flush", (record.id,), pause)
        if _is_to_go_back(self.app, record):
            self.give_back(record, lease)
            return None
        point("create.intend")
        # If we die after the create, find_batches above finds the batch by our id in its metadata.
        self._advance(lease, _NOW, create_intent_at=now, looks=0)
        point("create.call")
        metadata = {"lane": record.lane.name[:512], "prompts": str(record.lines)}
        metadata[EPOCH] = epoch_of(self.app).id
        if self.config.installation is not None:
            metadata[INSTALLATION] = self.config.installation
        created = provider.create(
            file_id=file_id,
            endpoint=record.lane.endpoint,
            batch_key=record.id,
            metadata=metadata,
            expires_after=self.config.file_expiry,
        )
        point("create.called")
        return created.id

    def _cancel(self, provider: Provider, batch_ids: list[str]) -> None:
        """Stop batches that were created once too often."""
        for batch_id in batch_ids:
            logger.error(
                "batch %s stands twice at the provider; %s is cancelled, and what it has answered "
                "by then is paid for",
                *(self.batch_id, batch_id),
                extra={"action": "flush", **self._ids},
            )
            self.journal.tallies.count("extra_batches")
            with suppress(ProviderError):
                provider.cancel(batch_id)

    def _refused(self, record: BatchRecord, lease: Lease, error: ProviderRefused) -> Next | None:
        """The provider said no, and nothing happened: try again later, or give up in words.

        No attempt of a prompt is used up here: nothing has looked at the prompts yet.
        """
        # Only a refused create says that there is no batch. Where the list was refused, a create
        # whose answer was lost is still to be looked for.
        undone: dict[str, Any] = {}
        if error.call == "batches.create":
            undone["create_intent_at"] = 0
        known = self._read()
        if self._is_the_accounts(known, error):
            return self._after_pause(known, lease, error, undone)
        if isinstance(error, ProviderThrottled):
            emit.tell_throttled(self.app, record, error.retry_after)
            return self._later(
                lease, error.retry_after or self.config.poll_longest, error, **undone
            )
        if isinstance(error, ProviderUnauthorized):
            return self._later(lease, self.config.poll_longest, error, **undone)
        age = timedelta(milliseconds=self.journal.clock.now() - known.create_intent_at)
        if error.call == "batches.list" and age < self.config.batch_deadline:
            # The batch that is looked for may be there, and all of it paid for.
            return self._later(lease, self.config.poll_longest, error)
        tried = known.refused + 1
        if tried < _REFUSALS:
            pause = min(self.config.poll_first * 2 ** (tried - 1), self.config.poll_longest)
            # A file that was just uploaded may not be found at first (curator#116); later it is
            # sent anew.
            if tried > 1 and undone:
                undone |= {"input_file_id": "", "upload_intent_at": 0, "state": "sealed"}
            return self._later(lease, pause, error, refused=tried, **undone)
        step_failed(error)
        outcome = Outcome.error(
            error.status_code, code=error.code, message=error.message, param=error.param
        )
        logger.error(
            "batch %s gets the provider's error for all its prompts: %s",
            *(record.id, error),
            extra={"action": "flush", **self._ids},
        )
        left = list(self.journal.lines.ids(record.id))
        for custom_ids in chunks(left):
            refused = [(custom_id, outcome) for custom_id in custom_ids]
            answer(self.app, record.lane, refused, batch=record.id)
        bill = bill_of_refusal(record, left, outcome)
        tally = bill.tally(status="refused", asked_again=0)
        closed = self.journal.batches.close(
            record, lease, tally=tally, note=str(error), **bill.fields()
        )
        if closed == "CLOSED":
            emit.tell_not_taken(self.app, record.id, "refused", error.code)
        return None

    def _is_the_accounts(self, record: BatchRecord, error: ProviderRefused) -> bool:
        """Whether a refusal says that the account can do nothing now; it is paused then. A file
        that was just uploaded may not be found at first: that is looked at for some times.
        """
        trouble = in_call(error)
        if trouble is None or (trouble.reason == "file" and record.refused + 1 < _REFUSALS):
            return False
        call_refused(self.app, record, error)
        return True

    def _after_pause(
        self, record: BatchRecord, lease: Lease, error: ProviderRefused, undone: dict[str, Any]
    ) -> Next | None:
        """Give the prompts back until the account goes on; but not while the batch may be there."""
        if record.create_intent_at and not undone:
            return self._later(lease, self.config.poll_longest, error)
        step_failed(error)
        logger.warning(
            "batch %s is not sent, and its prompts are back in their lane: %s",
            *(record.id, error),
            extra={"action": "flush", **self._ids},
        )
        self.give_back(record, lease, error.code or f"http_{error.status_code}")
        return None

    def _later(self, lease: Lease, pause: timedelta, error: Exception, **fields: Any) -> Next:
        logger.warning(
            "batch %s could not be submitted (%s); the step is tried again",
            *(self.batch_id, error),
            extra={"action": "flush", **self._ids},
        )
        step_failed(error)
        self._advance(lease, pause, note=str(error), **fields)
        return Next("flush", (self.batch_id,), pause)

    def _advance(self, lease: Lease, due: timedelta, **fields: Any) -> None:
        if self.journal.batches.advance(self.batch_id, lease, due=due, **fields) == "LOST":
            raise LeaseLost(self.batch_id)

    def _read(self) -> BatchRecord:
        record = self.journal.batches.get(self.batch_id)
        if record is None:
            raise LeaseLost(self.batch_id)
        return record


_GIVEN_BACK = {"cancelled": "cancelled", "paused": "its account was paused"}


class LeaseLost(RuntimeError):
    """Another worker took this batch over while we were held up; it goes on from the record."""


def _unreadable(path: Path, written: list[tuple[str, int]], endpoint: str) -> list[str]:
    """The custom ids whose line in the file, of the size written, is not what it should be."""
    with path.open("rb") as file:
        return [
            custom_id
            for custom_id, size in written
            if not _is_line_of(file.read(size), custom_id, endpoint)
        ]


def _is_line_of(line: bytes, custom_id: str, endpoint: str) -> bool:
    try:
        row = _strict.decode(line.decode())
        whole = line.endswith(b"\n") and line.count(b"\n") == 1
        ours = row["custom_id"] == custom_id and row["url"] == endpoint
        return whole and ours and bool(row["body"]["model"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is Python's, not JSON's")


_strict = json.JSONDecoder(parse_constant=_no_json)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
