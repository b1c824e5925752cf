"""What the page of one task shows: what it asked, what came back, from where and for how much.

A prompt is a call of its task, so it stands on the task's page, under ``#call-<number>``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from batchq.common.seams.results import UNREADABLE
from batchq.decide.flush import NextFlush, next_flush
from batchq.errors import ConfigurationError, JournalUnreadable, KeyMissing, NotFound
from batchq.flower.texts import spoken
from batchq.flower.words import pretty
from batchq.journal import CallRecord, Journal, TaskRecord, journal_of
from batchq.prompt import Lane, custom_id
from batchq.settings.config import settings

__all__ = ["PAGE", "CallOnPage", "TaskPage", "Text", "read_task", "state_in_celery"]

PAGE = 50
"""Calls on one page."""

MOST = 50_000
"""Characters of a text that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What was asked or answered, as JSON, and in ``spoken`` who says what in it; where there is
    nothing to show, ``why`` says why.

    Of a longer one the first `MOST` characters are shown, and ``left_out`` are not.
    """

    shown: str = ""
    why: str = ""
    left_out: int = 0
    spoken: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOnPage:
    """One call. ``question`` and ``answer`` are None where the operator does not show prompts."""

    record: CallRecord
    next_flush: NextFlush | None = None
    question: Text | None = None
    answer: Text | None = None

    @property
    def is_live(self) -> bool:
        """True for a call that the body made live: it was in no batch."""
        return not self.record.lane.account

    @property
    def batch(self) -> str:
        """The batch that it is in, or that has answered it."""
        return self.record.batch or self.record.place.partition("batch:")[2]

    @property
    def took(self) -> timedelta:
        """From the question to its answer."""
        record = self.record
        return timedelta(milliseconds=max(0, record.answered_at - record.asked_at))

    @property
    def word(self) -> str:
        if self.record.place == "answered" and self.is_live:
            return "answered live"
        if self.record.place == "answered":
            return "failed" if self.tone == "danger" else "answered"
        return "in a batch" if self.batch else "waits in its lane"

    @property
    def tone(self) -> str:
        status = self.record.status_code
        if status is None:
            return "secondary"
        return "success" if 200 <= status < 300 else "danger"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """All that stands on the page. ``state`` is Celery's own word for the task."""

    record: TaskRecord
    state: str
    calls: tuple[CallOnPage, ...]
    page: int
    pages: int

    @property
    def word(self) -> str:
        """What it does now, as the journal has it."""
        record = self.record
        if record.dead:
            return "dead: it killed its workers and waits for somebody to retry it"
        if record.revoked:
            return "revoked"
        if record.done:
            return f"ended: {record.done}"
        if record.running:
            return "its body runs"
        if record.waiting:
            return f"waits for {record.waiting} of {len(record.calls)} answers"
        return "has its answers and is on its way back to a worker"

    @property
    def tone(self) -> str:
        return _TONES.get(self.state, "text-bg-secondary")

    @property
    def can_revoke(self) -> bool:
        return not (self.record.done or self.record.revoked or self.record.dead)

    @property
    def can_retry(self) -> bool:
        return self.record.dead

    @property
    def cost(self) -> int:
        return sum(call.cost for call in self.record.calls)

    @property
    def saved(self) -> int:
        return sum(call.live_cost for call in self.record.calls) - self.cost


_TONES = {
    "SUCCESS": "text-bg-success",
    "FAILURE": "text-bg-danger",
    "RETRY": "text-bg-warning",
    "BATCHED": "batchq-batched",
}
"""Flower's own, by Celery's state."""


def read_task(
    app: Any, task_id: str, *, page: int = 1, call: int | None = None, texts: bool = False
) -> TaskPage:
    """Read one task; this talks to Redis. ``call`` asks for the page that this call is on.

    Texts of prompts and answers are read only with ``texts``. Raises NotFound.
    """
    journal = journal_of(app)
    record = journal.views.task(task_id)
    if record is None:
        raise NotFound("task", task_id)
    pages = max(1, -(-len(record.calls) // PAGE))
    page = _page_of(record, call) if call is not None else page
    page = min(max(1, page), pages)
    some = record.calls[(page - 1) * PAGE : page * PAGE]
    flushes = _next_flushes(app, journal, some)
    return TaskPage(
        record=record,
        state=state_in_celery(app, task_id),
        calls=tuple(
            CallOnPage(
                record=one,
                next_flush=flushes.get(one.lane) if one.place == "lane" else None,
                question=_question(journal, task_id, one) if texts else None,
                answer=_answer(journal, task_id, one) if texts else None,
            )
            for one in some
        ),
        page=page,
        pages=pages,
    )


def _page_of(record: TaskRecord, number: int) -> int:
    before = sum(call.number < number for call in record.calls)
    return before // PAGE + 1


def _next_flushes(
    app: Any, journal: Journal, calls: tuple[CallRecord, ...]
) -> dict[Lane, NextFlush]:
    """When the lanes are flushed in which some of these wait."""
    if not any(call.place == "lane" for call in calls):
        return {}
    config = settings(app)
    return {record.lane: next_flush(record, config) for record in journal.lanes.all()}


def state_in_celery(app: Any, task_id: str) -> str:
    """The state that Celery has of a task; empty where it has no result backend, or cannot read
    what is there.
    """
    try:
        return str(app.AsyncResult(task_id).state)
    except (NotImplementedError, *UNREADABLE):
        return ""


# Texts


def _question(journal: Journal, task_id: str, call: CallRecord) -> Text:
    if not call.lane.account:
        return Text(why="Of a call that was made live only the answer is kept.")
    return _text(lambda: journal.views.question(custom_id(task_id, call.number)))


def _answer(journal: Journal, task_id: str, call: CallRecord) -> Text:
    if call.place != "answered":
        return Text(why="There is none yet.")

    def body() -> bytes | None:
        outcome = journal.views.outcome(custom_id(task_id, call.number))
        return None if outcome is None else outcome.body

    return _text(body)


def _text(read: Callable[[], bytes | None]) -> Text:
    try:
        body = read()
    except KeyMissing as error:
        return Text(why=f"It is encrypted, and this Flower has no key for it: {error}.")
    except JournalUnreadable:
        return Text(why="What the journal holds of it is damaged.")
    except ConfigurationError as error:
        return Text(why=f"It cannot be read here: {error}")
    if body is None:
        return Text(why="It is not kept any more: once a task has ended, its texts are forgotten.")
    whole = pretty(body)
    said = spoken(body)
    # What is cut short is cut in the JSON: there it can be seen.
    fits = sum(len(text) for _, text in said) <= MOST
    return Text(shown=whole[:MOST], left_out=max(0, len(whole) - MOST), spoken=said if fits else ())
