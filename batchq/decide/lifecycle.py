"""What happens next: pure decisions. Given what is known, the step to take; the steps take it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.common.troubles import Trouble
from batchq.decide.trouble import in_file
from batchq.journal.webhooks import WEBHOOKS_COUNT
from batchq.money.usage import mapping
from batchq.prompt import Outcome
from batchq.provider.wordings import error_in_words, status_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from batchq.events import Reason, StuckReason
    from batchq.journal import AccountPause, BatchRecord, LaneRecord, Search, Sums
    from batchq.prompt import Lane
    from batchq.provider.descriptions import BatchErrorLine, ProviderBatch, Row
    from batchq.settings.account import Limits
    from batchq.settings.config import Settings

__all__ = [
    "BUDGET_PARTS",
    "AskAgain",
    "BadLine",
    "Cancel",
    "Fetch",
    "Hopeless",
    "News",
    "NextFlush",
    "NoRoom",
    "NotTheirs",
    "Wait",
    "account_pauses",
    "after_failed_validation",
    "after_poll",
    "budget_reached",
    "cost_under_way",
    "files_missing",
    "is_due",
    "is_due_but_for_its_account",
    "is_of_use",
    "is_over",
    "is_stuck",
    "late_by",
    "limit_to_learn",
    "longest_wait",
    "never_ran",
    "next_flush",
    "ought_to_go",
    "parts_to_ask",
    "pause_between_polls",
    "probe_limits",
    "search_is_due",
    "split_budget",
    "tokens_allowed",
    "too_few_usable",
    "verdict_on_row",
    "why_failed",
    "why_stuck",
]

NO_LIMIT = 2**53

NO_ROOM = "token_limit_exceeded"
_ABANDON_AFTER = timedelta(hours=1)


# A lane


@dataclass(frozen=True, slots=True, kw_only=True)
class NextFlush:
    """When a lane is flushed next, and why then. ``due_in`` is None where no clock decides."""

    due_in: timedelta | None
    why: str

    @property
    def is_now(self) -> bool:
        return self.due_in == _NOW


_NOW = timedelta(0)


def next_flush(lane: LaneRecord, settings: Settings) -> NextFlush:
    """When a lane is flushed: once it is full enough, or its oldest prompt has waited long enough.

    What has waited since before everything was to be flushed (``lane.called``) is due until it
    goes, for the provider may have had no room for it then.
    """
    if lane.held:
        return NextFlush(due_in=None, why="it is held")
    if lane.lane.account not in settings.accounts:
        return NextFlush(due_in=None, why=f"account {lane.lane.account!r} is not in the settings")
    if lane.account_pause is not None:
        return _after_its_pause(lane.account_pause)
    if lane.paused is not None:
        return NextFlush(due_in=lane.paused, why="the provider has no room for it before that")
    if not lane.prompts:
        return NextFlush(due_in=None, why="it is empty")
    if lane.prompts >= settings.flush_prompts:
        return NextFlush(due_in=_NOW, why="it has as many prompts as batchq_flush_prompts")
    if lane.bytes >= settings.accounts[lane.lane.account].limits.bytes:
        return NextFlush(due_in=_NOW, why="it fills a file")
    if settings.flush_bytes is not None and lane.bytes >= settings.flush_bytes:
        return NextFlush(due_in=_NOW, why="it has as many bytes as batchq_flush_bytes")
    if lane.called is not None and lane.oldest >= lane.called:
        return NextFlush(due_in=_NOW, why="it was asked for")
    return _by_the_clock(lane, settings)


def _after_its_pause(pause: AccountPause) -> NextFlush:
    why = f"account {pause.account!r} is paused, because {pause.because}"
    if pause.probe:
        return NextFlush(due_in=None, why=f"{why}; a small batch tries whether it still is")
    # Its account alone makes nothing due.
    return NextFlush(due_in=max(pause.next_try, _A_MOMENT), why=f"{why}; a small batch tries then")


def _by_the_clock(lane: LaneRecord, settings: Settings) -> NextFlush:
    waits: list[NextFlush] = []
    if settings.flush_after is not None:
        left = max(_NOW, settings.flush_after - lane.oldest)
        why = "its oldest prompt has waited for batchq_flush_after by then"
        waits.append(NextFlush(due_in=left, why=why))
    for schedule in settings.flush_at:
        left = max(_NOW, schedule.remaining_estimate(schedule.now()))
        # At its time everything is called for; this alone makes nothing due.
        waits.append(NextFlush(due_in=max(left, _A_MOMENT), why="batchq_flush_at says so"))
    nothing = NextFlush(due_in=None, why="it is neither full nor is there a time for it")
    return min(waits, key=lambda one: one.due_in or _NOW, default=nothing)


_A_MOMENT = timedelta(seconds=1)


def is_due(lane: LaneRecord, settings: Settings) -> bool:
    """True where a lane is to be flushed now."""
    return lane.prompts > 0 and next_flush(lane, settings).is_now


def is_due_but_for_its_account(lane: LaneRecord, settings: Settings) -> bool:
    """True where a lane would be flushed now if its account were not paused."""
    return is_due(replace(lane, account_pause=None), settings)


def late_by(lane: LaneRecord, settings: Settings) -> timedelta:
    """How long a lane has been due by the clock, or by somebody's word; 0 where it is not, is held,
    or its account is paused.

    Since when a lane has been full nobody knows, so that alone makes it late by nothing.
    """
    if lane.held or not lane.prompts or lane.account_pause is not None:
        return _NOW
    since = [_NOW]
    if settings.flush_after is not None:
        since.append(lane.oldest - settings.flush_after)
    if lane.called is not None and lane.oldest >= lane.called:
        since.append(lane.called)
    return max(since)


def longest_wait(settings: Settings) -> timedelta:
    """How long a question waits at most, from asked to answered, as far as the settings decide.

    In each of its batches: in the lane (for `flush_at` a day), for the create, for the provider,
    for the cancel, for the files. What nobody can set is not in it: a provider that has no room or
    is out of reach, an account that is paused, a Celery queue that is long.
    """
    in_lane = timedelta(days=1) if settings.flush_after is None else settings.flush_after
    in_batch = settings.create_grace + settings.batch_deadline + _ABANDON_AFTER
    return settings.max_attempts * (
        in_lane + in_batch + settings.poll_longest + settings.files_grace
    )


def ought_to_go(lane: LaneRecord, settings: Settings) -> bool:
    """True where a lane is to be flushed now, or would be if there were room at its provider, or an
    account. What an operator holds is to wait.
    """
    if lane.held or not lane.prompts:
        return False
    gone = lane.lane.account not in settings.accounts
    return gone or is_due(replace(lane, paused=None), settings)


def is_stuck(at_head: timedelta, settings: Settings) -> bool:
    """True where a lane that is due has had the same first prompt for too long.

    So long that a provider without room was asked again three times, and more: what waits for its
    next flush, or is on its way back from a batch, is gone by then.
    """
    return at_head >= 3 * settings.poll_longest + 3 * settings.tick


def why_stuck(
    record: LaneRecord, settings: Settings, *, learned: int | None, queued: int
) -> StuckReason:
    """What is known of a stuck lane: ``queued`` tokens are at the provider, which took ``learned``
    when it last said so.
    """
    lane = record.lane
    if lane.account not in settings.accounts:
        return "no_account"
    room = tokens_allowed(settings.accounts[lane.account].limits, lane.model, learned) - queued
    # A prompt for which alone there is no room goes all the same, once nothing is queued.
    fits = not queued or room * record.prompts >= record.tokens
    return "unknown" if fits else "no_room"


def tokens_allowed(limits: Limits, model: str, learned: int | None) -> int:
    """How many tokens may be queued at the provider for a model."""
    configured = limits.enqueued_tokens
    if isinstance(configured, dict):
        configured = configured.get(model)
    return min((limit for limit in (configured, learned) if limit is not None), default=NO_LIMIT)


# What a day costs


def cost_under_way(batches: Iterable[BatchRecord], sums: Mapping[Lane, Sums]) -> int:
    """What these batches may cost, at what a prompt of their lane has cost on the average so far; 0
    for a lane that has brought nothing yet.
    """
    found = 0
    for batch in batches:
        known = sums.get(batch.lane)
        if known is not None and known.attempts and batch.submitted_at:
            found += known.cost * batch.lines // known.attempts
    return found


def budget_reached(spent: int, *, budget: int) -> int | None:
    """The highest percentage that is told, of those that were reached."""
    return max((each for each in BUDGET_PARTS if 100 * spent >= each * budget), default=None)


BUDGET_PARTS = (80, 100)
"""The percentages of ``batchq_budget`` that are told."""


# A batch that was asked how it is


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do; ask again after ``delay``."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Fetch:
    """It will not change any more: read what it brought."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """It has had all the time there is: take back what it has not answered."""

    delay: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What webhooks have said, and how long ago: of this ``batch``, that it is over; of any batch
    of its ``account``, when that was right last. None: nothing.
    """

    batch: timedelta | None = None
    account: timedelta | None = None


def after_poll(
    batch: ProviderBatch,
    *,
    age: timedelta,
    settings: Settings,
    cancelled: bool = False,
    news: News | None = None,
) -> Wait | Fetch | Cancel:
    """The next step for a batch that was submitted ``age`` ago; ``cancelled`` by an operator, it is
    to end now.
    """
    match batch.status:
        case "completed" | "failed" | "expired" | "cancelled":
            return Fetch()
        case "cancelling" if age < settings.batch_deadline + _ABANDON_AFTER:
            return Wait(pause_between_polls(age, settings, news))
        case _ if age >= settings.batch_deadline + _ABANDON_AFTER:
            # Neither finished nor cancelled: what it answered is read, the rest is asked again.
            return Fetch()
        case _ if age >= settings.batch_deadline:
            return Cancel(settings.poll_longest)
        case _ if cancelled and batch.status != "finalizing":
            return Cancel(pause_between_polls(age, settings))
        case _:
            # A word that nobody has seen before is not an end.
            return Wait(pause_between_polls(age, settings, news))


def is_over(batch: ProviderBatch) -> bool:
    """True where the provider will not change it any more."""
    return batch.status in _OVER


_OVER = frozenset({"completed", "failed", "expired", "cancelled"})


def pause_between_polls(age: timedelta, settings: Settings, news: News | None = None) -> timedelta:
    """Seconds for a young batch, minutes for an old one: a quarter of its age, within limits.

    While webhooks arrive, every batch of their account is polled at the longest pause only: that
    is what one costs that gets lost. A batch that is over by a webhook's word, and not yet by the
    provider's own, is polled as if it were new.
    """
    if news is not None and news.batch is not None:
        age = min(age, news.batch)
    elif news is not None and news.account is not None and news.account < WEBHOOKS_COUNT:
        return settings.poll_longest
    return min(max(age / 4, settings.poll_first), settings.poll_longest)


def files_missing(batch: ProviderBatch) -> bool:
    """True where a completed batch should have a file that it does not name yet."""
    if batch.status != "completed":
        return False
    unnamed_output = batch.completed > 0 and batch.output_file_id is None
    unnamed_errors = batch.failed > 0 and batch.error_file_id is None
    return unnamed_output or unnamed_errors or not (batch.output_file_id or batch.error_file_id)


def why_failed(status: str, codes: Sequence[str], *, paused: bool = False) -> Reason | None:
    """Why a batch failed that ended with this status of its provider; None where it did not.
    ``paused`` where its account was, for the same reason.
    """
    match status:
        case "completed":
            return None
        case "failed" if paused:
            return "paused"
        case "failed":
            return "no_room" if NO_ROOM in codes[:1] else "validation"
        case "expired" | "cancelled":
            return status
        case "unknown":
            return "lost"
        case _:
            return "deadline"


# An account that may hold batches which the journal has lost


def search_is_due(last: Search, *, of: str, now: int, settings: Settings) -> bool:
    """True where an account is to be looked through: for the first time ``of`` this journal and
    this start of its server, and once more when a create that was under way must be in the list.
    """
    grace = settings.create_grace.total_seconds() * 1000
    return last.of != of or (last.looks < _SEARCHES and now - last.at >= grace)


_SEARCHES = 2


# A batch whose file was refused


@dataclass(frozen=True, slots=True)
class NoRoom:
    """Too much is queued at the provider. ``limit`` is its limit in tokens, where it says it."""

    limit: int | None


@dataclass(frozen=True, slots=True)
class BadLine:
    """One line is to blame: its prompt gets the error, its neighbours go again."""

    line: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Hopeless:
    """What is wrong is the same for every line: all prompts get the error."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class AskAgain:
    """It is not said which line is to blame: all go again, see `parts_to_ask`."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class NotTheirs:
    """No line is to blame: the account has this trouble. All go again once it is over."""

    trouble: Trouble


def after_failed_validation(
    errors: Sequence[BatchErrorLine], *, well: bool = False
) -> NoRoom | BadLine | Hopeless | AskAgain | NotTheirs:
    """What follows from the errors of a batch whose validation failed (nothing of it has run).

    An account that was ``well`` a moment ago is not to blame for what nobody knows.
    """
    trouble = in_file(errors)
    if trouble is not None and not (well and trouble.reason == "unknown"):
        return NotTheirs(trouble)
    if not errors:
        return AskAgain(
            Outcome.error(400, code="batch_failed", message="The batch failed without a reason.")
        )
    error = errors[0]
    if error.code == NO_ROOM:
        return NoRoom(_limit_in(error.message))
    status_code = 404 if error.code == "model_not_found" else 400
    outcome = Outcome.error(status_code, code=error.code, message=error.message, param=error.param)
    if error.code == "model_not_found" or error.param == "body.model":
        # A lane has one model, so the line that is named is only the first of all.
        return Hopeless(outcome)
    return AskAgain(outcome) if error.line is None else BadLine(error.line, outcome)


def parts_to_ask(lines: Sequence[str], *, of: int, part: bool) -> list[Sequence[str]]:
    """The batches in which the lines of a refused file are asked again, where none is to blame.

    The same lines once more, for it may have been a passing trouble; then, each as a ``part``, in
    halves. None where the file had only one line, which is the one to blame; the last one that is
    left ``of`` several may be innocent, for the others may be in another part by now.
    """
    if not part or (len(lines) == 1 and of > 1):
        return [lines]
    if len(lines) < 2:
        return []
    middle = (len(lines) + 1) // 2
    return [lines[:middle], lines[middle:]]


def split_budget(lines: int) -> int:
    """How many parts may be made of a refused file of so many lines to find one bad line in it.

    Once more as a whole and both halves at each level is one less. It is spent once for the file,
    and once more for each part that passes: a cause that all lines share ends within the first.
    """
    return 2 * math.ceil(math.log2(max(lines, 1))) + 2


# An account that can do nothing for a while

_PROBE = 10
"""Prompts that try whether a paused account can go on: few enough to lose no time with them."""
_POLLS = 12


def account_pauses(settings: Settings) -> tuple[timedelta, timedelta]:
    """How long an account is paused at first, and at the longest; in between it doubles."""
    return _POLLS * settings.poll_first, _POLLS * settings.poll_longest


def probe_limits(limits: Limits) -> Limits:
    """What the batch holds at most that tries whether an account can go on."""
    return limits.model_copy(update={"lines": min(_PROBE, limits.lines)})


def limit_to_learn(limit: int | None, *, refused: int, queued: int) -> int:
    """How many tokens to queue from now on, after a batch of ``refused`` tokens had no room.

    ``limit`` is what the provider says it to be, ``queued`` what was queued there by our own
    estimate, that batch included.
    """
    if limit is not None and queued > limit:
        return limit
    # By our estimate it had room: the estimate is too low, or others queue there too. Half of it
    # is the next try; an estimate is never so wrong that it takes less than a sixteenth.
    return max(1, refused // 2, 0 if limit is None else limit // 16)


def _limit_in(message: str) -> int | None:
    # "Limit: 2,000,000 enqueued tokens." (openai-python#2084)
    found = re.search(r"[Ll]imit: *([\d,]+)", message)
    return int(found[1].replace(",", "")) if found else None


# A row of a result file

_ASKED_AGAIN = frozenset({408, 409, 425, 429})


def verdict_on_row(row: Row) -> tuple[bool, Outcome]:
    """The outcome of a row, and whether it is final.

    Not final is what the SDK retries for a live call: no status, a conflict, a rate limit, a
    failure of the server; and what never ran.
    """
    status = row.status_code
    if (status is None or status >= 500) and (refused := _refusal_in(row)) is not None:
        return refused.status_code not in _ASKED_AGAIN, refused
    if status is None or row.body is None:
        return False, never_ran(row.error_code, row.error_message)
    if 200 <= status < 300:
        if not _is_object(row.body):
            # No answer of any endpoint: the SDK would hand the body something it cannot use.
            return False, never_ran("unreadable_answer", "The answer is no JSON object.")
        status = _status_of_error(row.body) or status
    try:
        body = _json_bytes(row.body)
    except RecursionError:
        return False, never_ran("unreadable_answer", "The answer is nested too deeply.")
    outcome = Outcome(status_code=status, body=body, request_id=row.request_id or "")
    return not (status in _ASKED_AGAIN or status >= 500), outcome


_ANSWERS = ("choices", "data", "output", "results")
"""One of these is in the answer of each endpoint. A response that failed has an ``error`` beside
its ``output``, as it has live."""

_STATUS_OF = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "content_policy_violation": 400,
    "content_filter": 400,
    "invalid_prompt": 400,
    # A gateway's codes are statuses.
    **{str(status): status for status in range(400, 600)},
}


def is_of_use(row: Row) -> bool:
    """True where a row says what became of its prompt: an answer, an error, or why it did not run.

    What is run and answered with something that is none is as good as lost, and paid for.
    """
    if row.status_code is None:
        return any((row.error_code, row.error_type, row.error_message))
    return row.status_code >= 400 or _is_object(row.body)


def too_few_usable(unusable: int, *, lines: int) -> bool:
    """True where so many rows of a batch are of no use that the fault is not in the rows.

    More than half of what was asked: whatever spoils them spoils those that are asked again, and
    they are paid for. One row alone says nothing about the others; asked again it costs little.
    """
    return unusable >= _SEVERAL and 2 * unusable > lines


_SEVERAL = 2


def _is_object(body: object) -> bool:
    return isinstance(body, dict)


def _status_of_error(body: Mapping[str, Any]) -> int | None:
    """The status of an error that came as if it were an answer (litellm, gateways); else None.

    One whose code nobody knows is the server's, and is asked again.
    """
    error = body.get("error")
    if not error or any(body.get(name) is not None for name in _ANSWERS):
        return None
    told = mapping(error)
    words = (str(told.get(name)) for name in ("code", "type"))
    return next((_STATUS_OF[word] for word in words if word in _STATUS_OF), 500)


def _refusal_in(row: Row) -> Outcome | None:
    """The error with which another server has refused a prompt, where a row tells it by its code or
    in words: "Error code: 400 - …", without a status or under that of a failure.
    """
    words = row.error_message or ""
    # A failure that calls itself an invalid_request_error is a failure: a type says too little.
    told = (row.error_code, row.error_type if row.status_code is None else None)
    codes = [code for code in told if code in _STATUS_OF]
    status = _STATUS_OF[codes[0]] if codes else status_in_words(words)
    if status is None or status >= 500:
        return None
    quoted = error_in_words(words)
    code, message, param = (
        known if isinstance(known := quoted.get(name), str) else None
        for name in ("code", "message", "param")
    )
    return Outcome.error(status, code=code or row.error_code, message=message or words, param=param)


def never_ran(code: str | None, message: str | None) -> Outcome:
    """The error for a prompt that was not run: 504 where its time ran out, 503 else."""
    status_code = 504 if code == "batch_expired" else 503
    return Outcome.error(
        status_code,
        code=code or "not_answered",
        message=message or "The batch ended without an answer to this request.",
    )


def _json_bytes(body: Any) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # Half an emoji, where max_tokens has cut one in two. As an escape it is what it was in the
        # file, and what the SDK would have got live.
        return json.dumps(body, separators=(",", ":")).encode()
