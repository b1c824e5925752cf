"""What became of a prompt, by its row in a result file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from batchq.money.usage import mapping
from batchq.prompt import Outcome
from batchq.provider.wordings import error_in_words, status_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchq.provider.descriptions import Row

__all__ = ["is_of_use", "never_ran", "too_few_usable", "verdict_on_row"]

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
        body = _json_bytes(row.body) if row.raw is None else row.raw
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
