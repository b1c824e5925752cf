"""What happens next: pure decisions. Given what is known, the step to take; the steps take it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.prompt import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchq.config import Settings
    from batchq.journal import LaneRecord
    from batchq.provider import BatchErrorLine, ProviderBatch, Row

__all__ = [
    "AskAgain",
    "BadLine",
    "Cancel",
    "Fetch",
    "Hopeless",
    "NoRoom",
    "Wait",
    "after_failed_validation",
    "after_poll",
    "files_missing",
    "is_due",
    "limit_to_learn",
    "never_ran",
    "pause_between_polls",
    "verdict_on_row",
]

NO_LIMIT = 2**53
_ABANDON_AFTER = timedelta(hours=1)


# A lane


def is_due(
    lane: LaneRecord, settings: Settings, *, since_everything: timedelta | None = None
) -> bool:
    """True where a lane is full enough, or its oldest prompt has waited long enough.

    ``since_everything`` is how long ago everything was to be flushed: what has waited since before
    that is due until it goes, for the provider may have had no room for it then.
    """
    limits = settings.accounts[lane.lane.account].limits
    full = lane.prompts >= settings.flush_prompts or lane.bytes >= limits.bytes
    old = settings.flush_after is not None and lane.oldest >= settings.flush_after
    called = since_everything is not None and lane.oldest >= since_everything
    return lane.prompts > 0 and (full or old or called)


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


def after_poll(
    batch: ProviderBatch, *, age: timedelta, settings: Settings
) -> Wait | Fetch | Cancel:
    """The next step for a batch that was submitted ``age`` ago."""
    match batch.status:
        case "completed" | "failed" | "expired" | "cancelled":
            return Fetch()
        case "cancelling" if age < settings.batch_deadline + _ABANDON_AFTER:
            return Wait(pause_between_polls(age, settings))
        case _ if age >= settings.batch_deadline + _ABANDON_AFTER:
            # Neither finished nor cancelled: what it answered is read, the rest is asked again.
            return Fetch()
        case _ if age >= settings.batch_deadline:
            return Cancel(settings.poll_longest)
        case _:
            # A word that nobody has seen before is not an end.
            return Wait(pause_between_polls(age, settings))


def pause_between_polls(age: timedelta, settings: Settings) -> timedelta:
    """Seconds for a young batch, minutes for an old one: a quarter of its age, within limits."""
    return min(max(age / 4, settings.poll_first), settings.poll_longest)


def files_missing(batch: ProviderBatch) -> bool:
    """True where a completed batch should have a file that it does not name yet."""
    if batch.status != "completed":
        return False
    unnamed_output = batch.completed > 0 and batch.output_file_id is None
    unnamed_errors = batch.failed > 0 and batch.error_file_id is None
    return unnamed_output or unnamed_errors or not (batch.output_file_id or batch.error_file_id)


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
    """It is not said which line is to blame: all go again, as long as they have attempts."""

    outcome: Outcome


def after_failed_validation(
    errors: Sequence[BatchErrorLine],
) -> NoRoom | BadLine | Hopeless | AskAgain:
    """What follows from the errors of a batch whose validation failed (nothing of it has run)."""
    if not errors:
        return AskAgain(
            Outcome.error(400, code="batch_failed", message="The batch failed without a reason.")
        )
    error = errors[0]
    if error.code == "token_limit_exceeded":
        return NoRoom(_limit_in(error.message))
    status_code = 404 if error.code == "model_not_found" else 400
    outcome = Outcome.error(status_code, code=error.code, message=error.message, param=error.param)
    if error.code == "model_not_found" or error.param == "body.model":
        # A lane has one model, so the line that is named is only the first of all.
        return Hopeless(outcome)
    return AskAgain(outcome) if error.line is None else BadLine(error.line, outcome)


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
    if status is None or row.body is None:
        return False, never_ran(row.error_code, row.error_message)
    outcome = Outcome(
        status_code=status, body=_json_bytes(row.body), request_id=row.request_id or ""
    )
    return not (status in _ASKED_AGAIN or status >= 500), outcome


def never_ran(code: str | None, message: str | None) -> Outcome:
    """The error for a prompt that was not run: 504 where its time ran out, 503 else."""
    status_code = 504 if code == "batch_expired" else 503
    return Outcome.error(
        status_code,
        code=code or "not_answered",
        message=message or "The batch ended without an answer to this request.",
    )


def _json_bytes(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
