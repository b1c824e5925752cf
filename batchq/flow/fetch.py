"""Fetch: a batch is over; every one of its prompts gets its outcome or goes back to its lane."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, assert_never

from batchq.common.points import point
from batchq.common.troubles import Trouble
from batchq.decide.fetch import is_of_use, never_ran, too_few_usable, verdict_on_row
from batchq.decide.poll import files_missing
from batchq.decide.room import limit_to_learn
from batchq.decide.trouble import in_file, in_row
from batchq.decide.validation import (
    AskAgain,
    BadLine,
    Hopeless,
    NoRoom,
    NotTheirs,
    after_failed_validation,
    parts_to_ask,
    split_budget,
)
from batchq.errors import ConfigurationError, ProviderError, ProviderNotFound
from batchq.flow.bill import Bill
from batchq.flow.pause import call_answered, call_refused, get_through, pause
from batchq.flow.resume import answer
from batchq.flow.runner import Next, Work, take, wake
from batchq.journal import BatchRecord, Journal, Receipt, chunks
from batchq.money.cost import table_of
from batchq.observe import emit
from batchq.observe.tracing import step_failed
from batchq.prompt import Outcome
from batchq.provider.client import Provider, provider_for
from batchq.provider.descriptions import BatchErrorLine, ProviderBatch, Row
from batchq.provider.rows import parse_row

if TYPE_CHECKING:
    from celery import Celery

    from batchq.journal.lease import Lease

__all__ = ["fetch"]

logger = logging.getLogger("batchq.fetch")

_ROWS, _BYTES = 500, 8_000_000
"""How much of a result file is held in memory at once; one row alone may be larger."""
_FINAL = frozenset({"ANSWERED", "READY", "ALREADY"})
_NOTED = 5
_ON_ITS_WAY = frozenset({"sealed", "uploaded", "submitted"})
_READINGS = 3
"""How often files with unreadable lines are downloaded before those lines count as missing."""


def fetch(app: Celery[Any], batch_id: str) -> None:
    """Read what a batch brought. Reading it twice changes nothing: the first outcome stays."""
    take(app, Next("fetch", (batch_id,)), batch_id, states={"finished"}, do=_fetch)


def _fetch(work: Work) -> Next | None:
    fetching = (_FetchingAdopted if work.record.adopted else _Fetching)(work)
    try:
        return fetching.run(provider_for(work.settings, work.record.lane.account))
    except (ProviderError, ConfigurationError) as error:
        step_failed(error)
        call_refused(work.app, work.record, error)
        return fetching.later(str(error))


@dataclass
class _Fetching:
    """One reading of one batch's files, under its lease.

    ``errors`` are outcomes that stand if no file has a success for their prompt; ``unanswered``
    is why a prompt is to be asked again, for the case that it has no attempt left. ``blameless``
    are those that have failed by a ``trouble`` of their account: they are asked again for nothing.
    ``final`` are the prompts that have an outcome for sure.
    """

    work: Work
    errors: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    unanswered: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    blameless: set[str] = field(default_factory=set[str])
    trouble: Trouble | None = None
    seen: Counter[str] = field(default_factory=Counter[str])
    useful: set[str] = field(default_factory=set[str])
    useless: set[str] = field(default_factory=set[str])
    final: set[str] = field(default_factory=set[str])

    @cached_property
    def bill(self) -> Bill:
        return Bill(self.record, table_of(self.work.settings, self.record.lane.account))

    @property
    def app(self) -> Celery[Any]:
        return self.work.app

    @property
    def journal(self) -> Journal:
        return self.work.journal

    @property
    def record(self) -> BatchRecord:
        return self.work.record

    @property
    def lease(self) -> Lease:
        return self.work.lease

    @cached_property
    def asked(self) -> Mapping[str, None]:
        """The custom ids of this batch, in the order of its lines. A row with another one answers
        nobody.
        """
        return dict.fromkeys(self.journal.lines.ids(self.record.id))

    @property
    def _age(self) -> timedelta:
        """How long ago the last poll found that it will not change any more."""
        return timedelta(milliseconds=self.journal.clock.now() - self.record.finished_at)

    def run(self, provider: Provider) -> Next | None:
        try:
            batch = provider.retrieve(self.record.provider_id)
        except ProviderNotFound as error:
            if not self.record.missing_since and self._age < self.work.settings.files_grace:
                return self.later(str(error))
            # Batches do vanish (tensorzero#1198). What it had answered is gone with it.
            batch = ProviderBatch(id=self.record.provider_id, status="unknown")
        else:
            call_answered(self.app, self.record, "batches.retrieve")
        refused = batch.status == "failed" and not batch.output_file_id
        waiting = self._failed(batch) if refused else self._read(provider, batch)
        if waiting is not None:
            return waiting
        if not refused and self._is_set_aside():
            return None
        if not refused:
            self._settle(batch)
        self._close(provider, batch)
        return None

    def later(self, why: str) -> Next:
        """Come back: the files are not all there, or could not be read to their end."""
        config = self.work.settings
        age = self._age
        pause = min(max(age / 4, config.poll_first), config.poll_longest)
        logger.warning(
            "the answers of batch %s cannot all be read yet (%s); the fetch is tried again",
            *(self.record.id, why),
            extra={"action": "fetch", **self.work.ids},
        )
        self.journal.batches.advance(
            self.record.id, self.lease, due=pause, looks=self.record.looks + 1, note=why
        )
        return Next("fetch", (self.record.id,), pause)

    # The files

    def _read(self, provider: Provider, batch: ProviderBatch) -> Next | None:
        """Read both files; returns the next look where they are not whole yet."""
        age = self._age
        in_grace = age < self.work.settings.files_grace
        if files_missing(batch) and in_grace:
            return self.later("it is completed, and its files are not there yet")
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            try:
                point("download.call")
                for lines in _some(provider.rows(file_id)):
                    self._take(lines)
                point("download.called")
                call_answered(self.app, self.record, "files.content")
            except ProviderError as error:
                step_failed(error)
                if call_refused(self.app, self.record, error) is not None:
                    # What is paid for stays there until the account may read it.
                    return self.later(str(error))
                gone = isinstance(error, ProviderNotFound)
                if in_grace if gone else age < self.work.settings.batch_deadline:
                    return self.later(str(error))
                logger.warning(
                    "a file of batch %s is given up (%s): prompts that it answers are asked again",
                    *(self.record.id, error),
                    extra={"action": "fetch", **self.work.ids},
                )
        if self.record.ask_again:
            return None
        if self.seen["unreadable"] and self.record.looks < _READINGS - 1:
            return self.later(f"{self.seen['unreadable']} lines of its files cannot be read")
        return None

    def _take(self, lines: Iterable[bytes]) -> None:
        """Answer the successes of some lines at once; keep what is not one for the end."""
        successes: list[tuple[str, Outcome]] = []
        receipts: dict[str, Receipt] = {}
        for row, final, outcome in self._rows(lines):
            if outcome.succeeded and final:
                successes.append((row.custom_id, outcome))
                receipts[row.custom_id] = self.bill.answered(row)
            else:
                self._keep(row.custom_id, final, outcome)
        self._answer(successes, receipts)

    def _keep(self, custom_id: str, final: bool, outcome: Outcome) -> None:  # noqa: FBT001 as it comes
        """Keep what is no success for the end."""
        trouble = in_row(outcome)
        if trouble is None:
            (self.errors if final else self.unanswered)[custom_id] = outcome
        else:
            self.trouble = self.trouble or trouble
            self.blameless.add(custom_id)

    def _rows(self, lines: Iterable[bytes]) -> Iterator[tuple[Row, bool, Outcome]]:
        """The rows among some lines, each with its verdict; those that failed are counted."""
        for line in lines:
            row = parse_row(line)
            if row is None:
                self.seen["unreadable" if line.strip() else "blank"] += 1
                continue
            if not is_of_use(row):
                self.useless.add(row.custom_id)
            elif self._is_ours(row.custom_id):
                self.useful.add(row.custom_id)
            else:
                self.seen["strange"] += 1
            final, outcome = verdict_on_row(row)
            if not (outcome.succeeded and final):
                self.bill.failed(row.custom_id, outcome)
            yield row, final, outcome

    def _answer(
        self, outcomes: list[tuple[str, Outcome]], receipts: Mapping[str, Receipt] | None = None
    ) -> None:
        ours = [pair for pair in outcomes if self._is_ours(pair[0])]
        self.seen["unknown"] += len(outcomes) - len(ours)
        if receipts is None:
            receipts = {c: Receipt.of(outcome, batch=self.record.id) for c, outcome in ours}
        each = answer(self.app, self.record.lane, ours, receipts, batch=self.record.id)
        words = Counter(each)
        self.final |= {c for (c, _), word in zip(ours, each, strict=True) if word in _FINAL}
        new = words["ANSWERED"] + words["READY"]
        if new and self.record.crashes:
            # It got further than the reading that killed its worker.
            self.journal.batches.gets_on(self.record.id)
        self.seen["answered"] += new
        self.seen["already"] += words["ALREADY"]
        self.seen["unknown"] += words["UNKNOWN"]

    def _is_ours(self, custom_id: str) -> bool:
        return custom_id in self.asked

    # What is left

    def _is_set_aside(self) -> bool:
        """Whether so much of the files is of no use that nothing of it is to be paid for again.

        What they do answer is given out. Somebody decides what becomes of the rest.
        """
        left = self._left()
        silent = sum(custom_id not in self.useful for custom_id in left)
        counts = (len(self.useless - self.useful), self.seen["strange"], self.seen["unreadable"])
        lost = min(silent, sum(counts))
        if self.record.ask_again or not too_few_usable(lost, lines=self.record.lines):
            return False
        self._settle_errors()
        why = (
            f"{sum(counts)} rows of its files are of no use ({counts[0]} with neither an answer "
            f"nor an error, {counts[1]} with the custom_id of another, {counts[2]} with none or "
            f"unreadable), and {silent} of its {self.record.lines} prompts have no other"
        )
        word, _ = self.journal.batches.set_aside(
            self.record.id, self.lease, why, code="rows_unusable"
        )
        logger.error(
            "batch %s is set aside, so that nothing of it is paid for again: %s",
            *(self.record.id, why),
            extra={"action": "set-aside", **self.work.ids},
        )
        if word == "DEAD":
            emit.tell_set_aside(self.app, self.record.id)
        return True

    def _settle(self, batch: ProviderBatch) -> None:
        """Give out the errors, and send back what has no outcome; first the account is paused,
        where that is the cause: what is back in its lane would go again at once.
        """
        stopped = in_file(batch.errors) if batch.errors else None
        if stopped is not None and stopped.reason not in {"credit", "access"}:
            stopped = None  # Its file was read, and ran.
        self.trouble = self.trouble or stopped
        if self.trouble is not None:
            anew = self.seen["answered"] + self.seen["already"] > 0
            pause(self.app, self.record, self.trouble, met_in="rows", anew=anew)
        elif self.bill.rows:
            get_through(self.app, self.record)
        left = self._settle_errors()
        free = [custom_id for custom_id in left if stopped or custom_id in self.blameless]
        self._give_back(free)
        # What an operator has stopped has not failed: it costs no attempt.
        given_back = frozenset(free)
        rest = [custom_id for custom_id in left if custom_id not in given_back]
        self._ask_again(rest, use_attempt=not self.record.cancel_at)

    def _give_back(self, custom_ids: list[str]) -> None:
        """Send prompts back to their lane, to go once the account does."""
        if custom_ids:
            self.journal.lanes.call_for_everything(self.record.lane)
            self._ask_again(custom_ids, use_attempt=False)

    def _settle_errors(self) -> list[str]:
        """Give out the errors that no success overruled; returns the prompts without an outcome."""
        left = self._left()
        self._answer(
            [(custom_id, self.errors[custom_id]) for custom_id in left if custom_id in self.errors]
        )
        self.seen["unknown"] += len(
            (self.errors.keys() | self.unanswered.keys()) - self.asked.keys()
        )
        return [custom_id for custom_id in left if custom_id not in self.errors]

    def _left(self) -> list[str]:
        """The prompts that are still in this batch, in the order of its lines."""
        open_ones = [custom_id for custom_id in self._lines() if custom_id not in self.final]
        return self.journal.lines.left_of(self.record.id, open_ones)

    def _lines(self) -> Iterable[str]:
        return self.asked

    def _prompt_at(self, line: int) -> str | None:
        """The prompt on a line of its file; lines count from 1."""
        return next(islice(self.asked, line - 1, None), None) if line > 0 else None

    def _ask_again(self, custom_ids: list[str], *, use_attempt: bool) -> None:
        if custom_ids:
            point("requeue.call")
        words = self.journal.lanes.requeue(self.record, custom_ids, use_attempt=use_attempt)
        if words:
            point("requeue.called")
        exhausted = [custom_id for custom_id, word in words.items() if word == "EXHAUSTED"]
        default = never_ran(None, None)
        for custom_id in exhausted:
            if custom_id not in self.unanswered:  # No row said so, or it is counted already.
                self.bill.failed(custom_id, default)
        self._answer([(c, self.unanswered.get(c, default)) for c in exhausted])
        self.seen["asked again"] += sum(word == "REQUEUED" for word in words.values())

    def _failed(self, batch: ProviderBatch) -> Next | None:
        """The file was refused and nothing ran: find whose fault it is."""
        left = self._left()
        well = self.journal.pauses.was_well(self.record.lane.account)
        follows = after_failed_validation(batch.errors, well=well)
        if isinstance(follows, BadLine | Hopeless | AskAgain):
            # It was read: whatever kept the account from being served, that is not it any more.
            get_through(self.app, self.record)
        if isinstance(follows, BadLine | AskAgain):
            named = follows.line if isinstance(follows, BadLine) else 1
            example = self._prompt_at(named) or ""
            self.bill.failed(example, follows.outcome)
        match follows:
            case NoRoom(limit):
                lane = self.record.lane
                queued = self.journal.lanes.queued_tokens(lane)
                learned = limit_to_learn(limit, refused=self.record.tokens, queued=queued)
                self.journal.lanes.learn_limit(lane, learned)
                self.journal.lanes.pause(lane, self.work.settings.poll_longest)
                emit.tell_no_room(self.app, self.record, learned)
                self._ask_again(left, use_attempt=False)
            case NotTheirs(trouble):
                self.trouble = trouble
                pause(self.app, self.record, trouble, met_in="file")
                self._give_back(left)
            case BadLine(line, outcome):
                bad = self._prompt_at(line)
                if bad not in left:
                    # It is no line of this file that is still open: the number is no help.
                    return self._split(left, outcome)
                self._answer([(custom_id, outcome) for custom_id in left if custom_id == bad])
                # Without the bad line the next file is another one.
                rest = [custom_id for custom_id in left if custom_id != bad]
                self._ask_again(rest, use_attempt=False)
            case Hopeless(outcome):
                for custom_id in left:
                    self.bill.failed(custom_id, outcome)
                self._answer_all(left, outcome)
            case AskAgain(outcome):
                return self._split(left, outcome)
            case _:
                assert_never(follows)
        return None

    def _answer_all(self, custom_ids: Sequence[str], outcome: Outcome) -> None:
        for some in chunks(custom_ids):
            self._answer([(custom_id, outcome) for custom_id in some])

    def _split(self, left: list[str], outcome: Outcome) -> Next | None:
        """Nobody says which line is to blame: ask the same again once, then in halves.

        Where the parts that may be made are spent, what is left gets the provider's error.
        """
        budget = self.record.budget or split_budget(len(left))
        parts = parts_to_ask(left, of=self.record.lines, part=bool(self.record.origin))
        if not parts:
            self._answer_all(left, outcome)
        for part in parts:
            part_id = uuid.uuid4().hex
            point("split.call")
            word = self.journal.batches.split(self.record, part, part_id, budget=budget)
            point("split.called")
            if word == "SPENT" and self._others_are_open():
                return self.later("whether more parts may be made shows when the others pass")
            if word == "SPENT":
                self._answer_all(part, outcome)
                continue
            self.seen["split"] += 1
            wake(self.app, Next("flush", (part_id,)))
            if word == "FULL":
                return self.later("the rest of its prompts goes into another part")
        return None

    def _others_are_open(self) -> bool:
        """Whether another part of the same batch may still pass its validation."""
        origin, me = self.record.origin or self.record.id, self.record.id
        return any(
            one.origin == origin and one.id != me and one.state in _ON_ITS_WAY and not one.passed
            for one in self.journal.batches.open()
        )

    def _close(self, provider: Provider, batch: ProviderBatch) -> None:
        counts = {word.replace(" ", "_"): count for word, count in self.seen.items() if count}
        note = "; ".join(map(_brief, batch.errors[:_NOTED]))
        tally = self.bill.tally(status=batch.status, asked_again=self.seen["asked again"])
        found = {**counts, **self.bill.fields(), "status": batch.status, "note": note}
        point("close.call")
        word = self.journal.batches.close(self.record, self.lease, tally=tally, **found)
        point("close.called")
        if word == "LOST":
            return  # Another reads it now, and needs its files.
        logger.info(
            "batch %s (%s) is over: %s",
            *(
                self.record.id,
                batch.status,
                ", ".join(f"{n} {word}" for word, n in self.seen.items() if n),
            ),
            extra={"action": "fetch", **self.work.ids},
        )
        paused = self.trouble is not None
        emit.tell_ended(self.app, self.record.id, batch.errors, paused=paused)
        if self.work.settings.delete_files:
            self._delete_files(provider, batch)

    def _delete_files(self, provider: Provider, batch: ProviderBatch) -> None:
        for file_id in (self.record.input_file_id, batch.output_file_id, batch.error_file_id):
            try:
                if file_id:
                    point("delete.call")
                    provider.delete_file(file_id)
                    point("delete.called")
            except ProviderError as error:
                # Its expiry takes care of it.
                logger.warning(
                    "file %s could not be deleted at the provider (%s); it expires there",
                    *(file_id, error),
                    extra={"action": "fetch", **self.work.ids},
                )


class _FetchingAdopted(_Fetching):
    """The same for a batch that the journal had lost. Its lines were asked by tasks that nobody
    knows any more; other prompts, that ask the same, have taken the places of some, or will.
    """

    def _take(self, lines: Iterable[bytes]) -> None:
        successes: list[tuple[str, Outcome]] = []
        takers = self.journal.adoption.takers(self.record.id)
        receipts: dict[str, Receipt] = {}
        for row, final, outcome in self._rows(lines):
            if outcome.succeeded and final:
                successes.append((row.custom_id, outcome))
                receipts[row.custom_id] = self.bill.answered(row)
            elif row.custom_id in takers:
                self._keep(takers[row.custom_id], final, outcome)
        found = self.journal.adoption.spare(self.record.id, successes)
        taken = [(t, *one) for t, one in zip(found, successes, strict=True) if t is not None]
        own = {taker: receipts[line_id] for taker, line_id, _ in taken}
        self._answer([(taker, outcome) for taker, _, outcome in taken], own)
        self.seen["spared"] += found.count(None)

    def _is_ours(self, custom_id: str) -> bool:  # noqa: ARG002 it is the base's
        return True  # Those are prompts that have taken the place of a line.

    def _lines(self) -> Iterable[str]:
        # They come as long as it is not shut.
        return self.journal.lines.ids(self.record.id)

    def _settle_errors(self) -> list[str]:
        # Who would wait from here on is not among those that are asked again.
        self.journal.adoption.shut(self.record.id)
        return super()._settle_errors()

    def _failed(self, batch: ProviderBatch) -> Next | None:
        self.journal.adoption.shut(self.record.id)
        self.trouble = in_file(batch.errors)
        if self.trouble is not None:
            pause(self.app, self.record, self.trouble, met_in="file")
        self._ask_again(self._left(), use_attempt=False)
        return None


def _brief(error: BatchErrorLine) -> str:
    """Why a batch failed, without the provider's sentence: that may repeat a prompt."""
    line = "" if error.line is None else f", line {error.line}"
    param = "" if error.param is None else f", {error.param}"
    return f"{error.code or 'no code'}{line}{param}"


def _some(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The lines, a few at a time: not many, and not much."""
    some: list[bytes] = []
    size = 0
    for line in lines:
        point("download.line")
        some.append(line)
        size += len(line)
        if len(some) >= _ROWS or size >= _BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some
