"""Fetch: a batch is over; every one of its prompts gets its outcome or goes back to its lane."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, assert_never

from batchq.config import settings
from batchq.errors import ConfigurationError, ProviderError, ProviderNotFound
from batchq.flow.resume import answer
from batchq.flow.steps import Next, not_yet, wake
from batchq.journal import BatchRecord, Journal, chunks, journal_of
from batchq.lifecycle import (
    AskAgain,
    BadLine,
    Hopeless,
    NoRoom,
    after_failed_validation,
    files_missing,
    limit_to_learn,
    never_ran,
    verdict_on_row,
)
from batchq.prompt import Outcome
from batchq.provider import Provider, ProviderBatch, parse_row, provider_for

if TYPE_CHECKING:
    from celery import Celery

    from batchq.lease import Lease

__all__ = ["fetch"]

logger = logging.getLogger("batchq.fetch")

_ROWS, _BYTES = 200, 8_000_000
"""How much of a result file is held in memory at once; one row alone may be larger."""
_READINGS = 3
"""How often files with unreadable lines are downloaded before those lines count as missing."""


def fetch(app: Celery[Any], batch_id: str) -> None:
    """Read what a batch brought. Reading it twice changes nothing: the first outcome stays."""
    config, journal = settings(app), journal_of(app)
    with journal.lease("batch", batch_id, config.batch_lease) as lease:
        record = journal.batch(batch_id)
        if lease is None or record is None or record.state != "finished":
            return
        if early := not_yet(app, batch_id):
            wake(app, Next("fetch", (batch_id,), early))
            return
        fetching = _Fetching(app=app, record=record, lease=lease)
        try:
            following = fetching.run(provider_for(config, record.lane.account))
        except (ProviderError, ConfigurationError) as error:
            following = fetching.later(str(error))
    wake(app, following)


@dataclass(kw_only=True)
class _Fetching:
    """One reading of one batch's files, under its lease.

    ``errors`` are outcomes that stand if no file has a success for their prompt; ``unanswered``
    is why a prompt is to be asked again, for the case that it has no attempt left.
    """

    app: Celery[Any]
    record: BatchRecord
    lease: Lease
    errors: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    unanswered: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    seen: Counter[str] = field(default_factory=Counter[str])

    @property
    def journal(self) -> Journal:
        return journal_of(self.app)

    @cached_property
    def asked(self) -> frozenset[str]:
        """The custom ids of this batch. A row with another one answers nobody."""
        return frozenset(self.journal.prompts_of(self.record.id))

    @property
    def _age(self) -> timedelta:
        """How long ago the last poll found that it will not change any more."""
        return timedelta(milliseconds=self.journal.now() - self.record.finished_at)

    def run(self, provider: Provider) -> Next | None:
        try:
            batch = provider.retrieve(self.record.provider_id)
        except ProviderNotFound as error:
            if not self.record.missing_since and self._age < settings(self.app).files_grace:
                return self.later(str(error))
            # Batches do vanish (tensorzero#1198). What it had answered is gone with it.
            batch = ProviderBatch(id=self.record.provider_id, status="unknown")
        if batch.status == "failed" and not batch.output_file_id:
            self._failed(batch)
        else:
            waiting = self._read(provider, batch)
            if waiting is not None:
                return waiting
            self._ask_again(self._settle_errors(), use_attempt=True)
        self._close(provider, batch)
        return None

    def later(self, why: str) -> Next:
        """Come back: the files are not all there, or could not be read to their end."""
        config = settings(self.app)
        age = self._age
        pause = min(max(age / 4, config.poll_first), config.poll_longest)
        logger.warning(
            "batch %s is not fetched yet: %s",
            *(self.record.id, why),
            extra={"action": "fetch", "batch": self.record.id},
        )
        self.journal.advance(
            self.record.id, self.lease, due=pause, looks=self.record.looks + 1, note=why
        )
        return Next("fetch", (self.record.id,), pause)

    # The files

    def _read(self, provider: Provider, batch: ProviderBatch) -> Next | None:
        """Read both files; returns the next look where they are not whole yet."""
        age = self._age
        in_grace = age < settings(self.app).files_grace
        if files_missing(batch) and in_grace:
            return self.later("it is completed, and its files are not there yet")
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            try:
                for lines in _some(provider.rows(file_id)):
                    self._take(lines)
            except ProviderError as error:
                gone = isinstance(error, ProviderNotFound)
                if in_grace if gone else age < settings(self.app).batch_deadline:
                    return self.later(str(error))
                logger.warning("batch %s: %s", self.record.id, error, extra={"action": "fetch"})
        if self.seen["unreadable"] and self.record.looks < _READINGS - 1:
            return self.later(f"{self.seen['unreadable']} lines of its files cannot be read")
        return None

    def _take(self, lines: Iterable[bytes]) -> None:
        """Answer the successes of some lines at once; keep what is not one for the end."""
        successes: list[tuple[str, Outcome]] = []
        for line in lines:
            row = parse_row(line)
            if row is None:
                self.seen["unreadable" if line.strip() else "blank"] += 1
                continue
            final, outcome = verdict_on_row(row)
            if outcome.succeeded and final:
                successes.append((row.custom_id, outcome))
            else:
                (self.errors if final else self.unanswered)[row.custom_id] = outcome
        self._answer(successes)

    def _answer(self, outcomes: list[tuple[str, Outcome]]) -> None:
        ours = [pair for pair in outcomes if self._is_ours(pair[0])]
        self.seen["unknown"] += len(outcomes) - len(ours)
        words = answer(self.app, self.record.lane, ours)
        self.seen["answered"] += words["ANSWERED"] + words["READY"]
        self.seen["already"] += words["ALREADY"]
        self.seen["unknown"] += words["UNKNOWN"]

    def _is_ours(self, custom_id: str) -> bool:
        return custom_id in self.asked

    # What is left

    def _settle_errors(self) -> list[str]:
        """Give out the errors that no success overruled; returns the prompts without an outcome."""
        left = self._left()
        self._answer(
            [(custom_id, self.errors[custom_id]) for custom_id in left if custom_id in self.errors]
        )
        self.seen["unknown"] += len((self.errors.keys() | self.unanswered.keys()) - self.asked)
        return [custom_id for custom_id in left if custom_id not in self.errors]

    def _left(self) -> list[str]:
        """The prompts that are still in this batch, in the order of its lines."""
        here = f"batch:{self.record.id}"
        left: list[str] = []
        for custom_ids in chunks(self.journal.prompts_of(self.record.id)):
            places = self.journal.places(custom_ids)
            left += [c for c, place in zip(custom_ids, places, strict=True) if place == here]
        return left

    def _ask_again(
        self, custom_ids: list[str], *, use_attempt: bool, reason: Outcome | None = None
    ) -> None:
        words = self.journal.requeue(self.record, custom_ids, use_attempt=use_attempt)
        exhausted = [custom_id for custom_id, word in words.items() if word == "EXHAUSTED"]
        default = reason if reason is not None else never_ran(None, None)
        self._answer([(c, self.unanswered.get(c, default)) for c in exhausted])
        self.seen["asked again"] += sum(word == "REQUEUED" for word in words.values())

    def _failed(self, batch: ProviderBatch) -> None:
        """The file was refused and nothing ran: find whose fault it is."""
        left = self._left()
        follows = after_failed_validation(batch.errors)
        match follows:
            case NoRoom(limit):
                lane = self.record.lane
                queued = self.journal.queued_tokens(lane)
                learned = limit_to_learn(limit, refused=self.record.tokens, queued=queued)
                self.journal.learn_limit(lane, learned)
                self.journal.pause(lane, settings(self.app).poll_longest)
                self._ask_again(left, use_attempt=False)
            case BadLine(line, outcome):
                bad = self.journal.prompt_at(self.record.id, line)
                self._answer([(custom_id, outcome) for custom_id in left if custom_id == bad])
                # Without the bad line the next file is another one. Where there is no such line,
                # an attempt goes, so that this ends.
                rest = [custom_id for custom_id in left if custom_id != bad]
                self._ask_again(rest, use_attempt=bad is None, reason=outcome)
            case Hopeless(outcome):
                for some in chunks(left):
                    self._answer([(custom_id, outcome) for custom_id in some])
            case AskAgain(outcome):
                self._ask_again(left, use_attempt=True, reason=outcome)
            case _:
                assert_never(follows)

    def _close(self, provider: Provider, batch: ProviderBatch) -> None:
        counts = {word.replace(" ", "_"): count for word, count in self.seen.items() if count}
        note = "; ".join(error.message for error in batch.errors)
        word = self.journal.close(
            self.record.id, self.lease, status=batch.status, note=note, **counts
        )
        if word == "LOST":
            return  # Another reads it now, and needs its files.
        logger.info(
            "batch %s (%s) is over: %s",
            *(
                self.record.id,
                batch.status,
                ", ".join(f"{n} {word}" for word, n in self.seen.items() if n),
            ),
            extra={"action": "fetch", "batch": self.record.id},
        )
        if settings(self.app).delete_files:
            self._delete_files(provider, batch)

    def _delete_files(self, provider: Provider, batch: ProviderBatch) -> None:
        for file_id in (self.record.input_file_id, batch.output_file_id, batch.error_file_id):
            try:
                if file_id:
                    provider.delete_file(file_id)
            except ProviderError as error:
                # Its expiry takes care of it.
                logger.warning(
                    "file %s is not deleted: %s", file_id, error, extra={"action": "fetch"}
                )


def _some(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The lines, a few at a time: not many, and not much."""
    some: list[bytes] = []
    size = 0
    for line in lines:
        some.append(line)
        size += len(line)
        if len(some) >= _ROWS or size >= _BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some
