"""What the page of one batch shows: its story, its counts, its prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

from batchq.errors import NotFound
from batchq.events import BatchChanged, BatchWoken, Event, LimitReached
from batchq.flower.overview import BatchRow, Expected, expected_end
from batchq.flower.words import pretty, size, things
from batchq.journal import BatchRecord, CallRecord, Journal, PromptRecord, journal_of
from batchq.prompt import Lane, split_id

__all__ = ["PAGE", "BatchPage", "Count", "ErrorKind", "Moment", "read_batch", "timeline"]

PAGE = 50
"""Prompts on one page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened to a batch, or will: ``at`` is in milliseconds, None is not known.

    ``tone`` is ``ok``, ``warning`` or ``danger``, or empty. Times of the provider are by its own
    clock, to the second. ``since`` is how long after the moment before it.
    """

    at: int | None
    what: str
    detail: str = ""
    tone: str = ""
    provider: bool = False
    ahead: bool = False
    since: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A number of a batch, and what it counts."""

    name: str
    number: int
    what: str
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    code: str
    rows: int
    examples: tuple[PromptRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPage:
    """All that stands on the page. ``prompts`` are those of this ``page`` of ``pages``, from line
    ``first`` on; ``found`` is the provider's own description, ``events`` what was told of it;
    ``due`` is in how long its next step is, and ``expected`` when it is back, of an open one.
    """

    record: BatchRecord
    now: int
    counts: tuple[Count, ...]
    errors: tuple[ErrorKind, ...]
    prompts: tuple[PromptRecord, ...]
    page: int
    pages: int
    first: int
    object: str
    found: Mapping[str, Any] | None = field(repr=False)
    due: timedelta | None
    events: tuple[Event, ...] = field(repr=False)
    expected: Expected | None = None

    @property
    def row(self) -> BatchRow:
        """It as the list of batches has it."""
        return BatchRow.of(self.record)

    @property
    def moments(self) -> tuple[Moment, ...]:
        return timeline(
            self.record,
            self.found,
            self.events,
            now=self.now,
            due=self.due,
            expected=self.expected,
        )

    def expecting(self, turnarounds: Mapping[Lane, Sequence[int]]) -> BatchPage:
        """The same, with when it is back, going by what other batches of its lane took."""
        if self.record.dead_at:
            return self
        took = turnarounds.get(self.record.lane, ())
        return replace(self, expected=expected_end(self.record, took, self.now))

    @property
    def is_open(self) -> bool:
        return self.record.state != "closed"

    @property
    def can_retry(self) -> bool:
        return self.record.dead_at > 0 and self.is_open

    def place_of(self, call: CallRecord) -> str:
        """Where one of its prompts is now."""
        if call.place == "answered":
            here = call.batch == self.record.id
            return "answered" if here or not call.batch else "answered by another batch"
        if call.place == "lane":
            return "in its lane again"
        return "in this batch" if call.place == f"batch:{self.record.id}" else "in another batch"

    @property
    def age(self) -> timedelta:
        """From its seal to its close, or until now."""
        end = self.record.closed_at or self.now
        return timedelta(milliseconds=max(0, end - self.record.sealed_at))

    @property
    def task_names(self) -> list[tuple[str, int]]:
        """The tasks that asked, those first that asked most."""
        return sorted(self.record.task_names.items(), key=lambda pair: (-pair[1], pair[0]))


def read_batch(app: Any, batch_id: str, *, page: int = 1) -> BatchPage:
    """Read one batch; this talks to Redis. Raises NotFound, or JournalUnreadable."""
    journal = journal_of(app)
    record = journal.batches.get(batch_id)
    if record is None:
        raise NotFound("batch", batch_id)
    now, found = journal.clock.now(), journal.batches.object_of(batch_id)
    due = None if record.state == "closed" else journal.batches.due_in(batch_id)
    pages = max(1, -(-record.lines // PAGE))
    page = min(max(1, page), pages)
    first = (page - 1) * PAGE
    return BatchPage(
        record=record,
        now=now,
        counts=tuple(_counts(record)),
        errors=tuple(_errors(record, journal)),
        prompts=tuple(journal.views.prompts(journal.lines.some_ids(batch_id, first, PAGE))),
        page=page,
        pages=pages,
        first=first + 1,
        found=found,
        due=due,
        events=tuple(_events(record, journal)),
        object="" if found is None else pretty(json.dumps(found).encode()),
    )


def _events(record: BatchRecord, journal: Journal) -> Iterator[Event]:
    """What was told of a batch, as far as it is among the first thousands since its seal."""
    after, end = f"{record.sealed_at - 1}-0", record.closed_at or journal.clock.now()
    for _ in range(_CHUNKS):
        some = journal.events.read(after=after)
        yield from (event for event in some if getattr(event, "batch", "") == record.id)
        if not some or some[-1].at.timestamp() * 1000 > end:
            return
        after = some[-1].id


_CHUNKS = 5


# The timeline


def timeline(
    record: BatchRecord,
    found: Mapping[str, Any] | None,
    events: Iterable[Event] = (),
    *,
    now: int,
    due: timedelta | None,
    expected: Expected | None = None,
) -> tuple[Moment, ...]:
    """What happened to a batch and what is to come, in its order; the provider's own times among
    ours, as far as it has told them.
    """
    told = [moment for event in events for moment in _told(event, record)]
    ours = sorted([*_ours(record), *told], key=lambda moment: moment.at or 0)
    happened = [*ours, *_theirs(found or {})]
    happened.sort(key=lambda moment: _place(moment, record))
    ahead = list(_ahead(record, now, due, expected))
    return (*_with_lengths(happened), *ahead)


def _place(moment: Moment, record: BatchRecord) -> tuple[int, int]:
    """Where a moment stands. What happened at the provider happened between our create and our last
    look, whatever its clock says.
    """
    at = moment.at or 0
    end = record.finished_at or record.closed_at
    if not moment.provider:
        return at, 2 if end and at >= end else 0
    at = max(at, record.submitted_at)
    return min(at, end or at), 1


def _with_lengths(moments: list[Moment]) -> Iterator[Moment]:
    yield from moments[:1]
    for before, moment in pairwise(moments):
        # Two clocks, of which one is cut to the second, say nothing about a short time.
        length = (moment.at or 0) - (before.at or 0)
        same = moment.provider == before.provider
        least = _SECOND if moment.provider else 0
        known = length >= (least if same else _CLOCKS_APART)
        yield replace(moment, since=timedelta(milliseconds=length)) if known else moment


_SECOND = 1000
_CLOCKS_APART = 60 * _SECOND


def _ours(record: BatchRecord) -> Iterator[Moment]:
    yield Moment(at=record.sealed_at, what="Sealed", detail=_sealed(record))
    if record.upload_intent_at:
        yield Moment(at=record.upload_intent_at, what="Upload began")
    if record.create_intent_at:
        detail = f"as file {record.input_file_id}" if record.input_file_id else ""
        yield Moment(at=record.create_intent_at, what="Uploaded", detail=detail)
    if record.submitted_at:
        how = "Found at the provider" if record.adopted else "Submitted"
        yield Moment(at=record.submitted_at, what=how, detail=f"as {record.provider_id}")
    yield from _mishaps(record)
    if record.finished_at:
        what = f"Over: {record.status}" if record.status else "Over"
        yield Moment(at=record.finished_at, what=what, detail="as the last poll found")
    if record.closed_at:
        yield Moment(at=record.closed_at, what="Closed", detail=_closed(record), tone="ok")


def _told(event: Event, record: BatchRecord) -> Iterator[Moment]:
    """What the record does not say, or only of the last time."""
    at = round(event.at.timestamp() * 1000)
    match event:
        case BatchChanged() if record.finished_at and event.status == record.status:
            return  # Its end, which the record tells.
        case BatchChanged():
            counts = f"{event.completed:,} completed, {event.failed:,} failed"
            detail = counts if event.completed + event.failed else ""
            yield Moment(at=at, what=f"Poll: {event.status.replace('_', ' ')}", detail=detail)
        case BatchWoken():
            detail = f"it was {event.state}, and its next step was late"
            yield Moment(at=at, what="Woken by rescue", detail=detail, tone="warning")
        case LimitReached():
            what = "Throttled" if event.reason == "throttled" else "No room at the provider"
            yield Moment(at=at, what=what, tone="warning")
        case _:
            return


def _mishaps(record: BatchRecord) -> Iterator[Moment]:
    if record.missing_since:
        what = "Unknown to the provider"
        yield Moment(at=record.missing_since, what=what, detail=record.note, tone="warning")
    if record.cancel_at:
        yield Moment(at=record.cancel_at, what="An operator asked for its end", tone="warning")
    if record.dead_at:
        yield Moment(at=record.dead_at, what="Set aside", detail=record.note, tone="danger")


def _sealed(record: BatchRecord) -> str:
    parts = [things(record.lines, "prompt"), size(record.bytes)]
    parts.append(f"about {things(record.tokens, 'input token')}")
    if record.adopted:
        parts.append("made anew from what the provider had, for the journal had lost it")
    return ", ".join(parts)


def _closed(record: BatchRecord) -> str:
    parts = [f"{record.answered:,} answered"]
    if record.asked_again:
        parts.append(f"{record.asked_again:,} asked again")
    return ", ".join(parts)


_THEIRS = (
    ("created_at", "Created", ""),
    ("in_progress_at", "In progress", ""),
    ("finalizing_at", "Finalizing", ""),
    ("cancelling_at", "Cancelling", "warning"),
    ("completed_at", "Completed", "ok"),
    ("failed_at", "Failed", "danger"),
    ("expired_at", "Expired", "danger"),
    ("cancelled_at", "Cancelled", "warning"),
)


def _theirs(found: Mapping[str, Any]) -> Iterator[Moment]:
    for name, what, tone in _THEIRS:
        seconds = found.get(name)
        # What a provider writes there is its own affair: rubbish is left out.
        if isinstance(seconds, (int, float)) and 0 < seconds < _LATEST:
            at = round(seconds * 1000)
            yield Moment(at=at, what=what, tone=tone, provider=True)


_LATEST = 32_503_680_000
"""The year 3000: a later time is none."""


def _ahead(
    record: BatchRecord, now: int, due: timedelta | None, expected: Expected | None
) -> Iterator[Moment]:
    if record.state == "closed":
        return
    if due is not None and not record.dead_at:
        step = _STEPS.get(record.state, "step")
        at = now + _ms(due)
        detail = "it is late: rescue sends it again" if _ms(due) < -_LATE else ""
        yield Moment(at=at, what=f"Next {step}", detail=detail, ahead=True)
    if record.dead_at and due is not None:
        what = "Given up, unless it is retried before"
        yield Moment(at=now + _ms(due), what=what, tone="danger", ahead=True)
    if expected is not None and expected.at:
        yield Moment(at=expected.at, what="Expected back", detail=expected.why, ahead=True)
    if record.expires_at and record.state == "submitted":
        yield Moment(at=record.expires_at, what="Expires at the provider", ahead=True)


_STEPS = {"sealed": "upload", "uploaded": "create", "submitted": "poll", "finished": "fetch"}
_LATE = 10_000


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


# Counts and errors


def _counts(record: BatchRecord) -> Iterator[Count]:
    yield Count(name="prompts", number=record.lines, what="in its file")
    if record.state == "submitted":
        yield from (
            Count(name="completed", number=record.completed, what="as the last poll found"),
            Count(name="failed", number=record.failed, what="as the last poll found"),
        )
    if record.state != "closed":
        return
    yield Count(name="answered", number=record.answered, what="got their outcome from it")
    rare = (
        Count(
            name="failed",
            number=record.failed_rows,
            what="without success, see errors by code",
            tone="danger",
        ),
        Count(
            name="asked again",
            number=record.asked_again,
            what="went back to their lane, for another batch",
            tone="warning",
        ),
        Count(name="already answered", number=record.already, what="had an outcome before"),
        Count(
            name="unknown",
            number=record.unknown,
            what="of prompts that are not in it",
            tone="warning",
        ),
        Count(
            name="unreadable",
            number=record.unreadable,
            what="that could not be read in its files",
            tone="danger",
        ),
    )
    yield from (count for count in rare if count.number)


def _errors(record: BatchRecord, journal: Journal) -> Iterator[ErrorKind]:
    by_number = sorted(record.errors.items(), key=lambda pair: (-pair[1], pair[0]))
    for code, rows in by_number:
        # A provider may name a line that is none of ours.
        named = [one for one in record.examples.get(code, []) if split_id(one) is not None]
        yield ErrorKind(code=code, rows=rows, examples=tuple(journal.views.prompts(named)))
