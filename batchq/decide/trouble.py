"""Trouble that is the account's: pure. What a provider says of a call, a file or a row, and whether
it says it of the account that asks: no prompt has failed by it, and none is used up.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from batchq.common.troubles import Trouble, TroubleReason
from batchq.money.usage import mapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from batchq.errors import ProviderRefused
    from batchq.prompt import Outcome
    from batchq.provider.descriptions import BatchErrorLine

__all__ = ["in_call", "in_file", "in_row"]


def in_call(error: ProviderRefused) -> Trouble | None:
    """What a refused call of ours says of its account: where a key is not taken, or may not send,
    no other batch fares better.
    """
    reason = _of_words(error.status_code, error.code, error.kind, error.message)
    if reason is None and error.call in _CALLS:
        sends = error.call in _SENDS
        if error.status_code == _WRONG_KEY or (sends and error.status_code == _NOT_ALLOWED):
            reason = "access"
        elif error.call == "batches.create" and _is_of_the_file(error.param, error.message):
            reason = "file"
    return None if reason is None else Trouble(reason, _code(error.code, error.status_code))


_SENDS = frozenset({"files.create", "batches.create"})
_CALLS = _SENDS | {"files.list", "files.content", "batches.list", "batches.retrieve"}
_WRONG_KEY, _NOT_ALLOWED = 401, 403


def in_file(errors: Sequence[BatchErrorLine]) -> Trouble | None:
    """What the errors of a batch say of its account, where nothing of it has run.

    Only what is known to be a line's is looked for among the lines.
    """
    if not errors:
        return Trouble("unknown", _NO_CODE)
    for error in errors:
        if (reason := _of_words(0, error.code, None, error.message)) is not None:
            return Trouble(reason, _code(error.code))
    first = errors[0]
    if first.line is not None or first.code in _OF_LIMITS or _names_a_part(first.param):
        return None
    # "invalid_request" is said of lines and of files; of the others the sentence says nothing more.
    told = "" if first.code in _OF_LINES - {"invalid_request"} else first.message
    if first.code in _OF_FILES or _is_of_the_file(first.param, told):
        return Trouble("file", _code(first.code))
    return None if first.code in _OF_LINES else Trouble("unknown", _code(first.code))


def in_row(outcome: Outcome) -> Trouble | None:
    """What an error that came for one prompt says of the account that asked."""
    try:
        error = mapping(json.loads(outcome.body).get("error"))
    except (ValueError, AttributeError, RecursionError):
        return None
    code, kind, message = (_text(error.get(name)) for name in ("code", "type", "message"))
    reason = _of_words(outcome.status_code, code, kind, message)
    return None if reason is None else Trouble(reason, _code(code or kind, outcome.status_code))


# What words mean

_PAYMENT_REQUIRED = 402
_NO_CODE = "no_code"

_SPENT = frozenset({"quota", "credit", "credits", "balance", "payment", "arrears", "arrearage"})
"""One of these in a code: insufficient_quota, InsufficientBalance, credit_limit_reached, ..."""
_OF_A_PACE = frozenset({"rate", "minute", "token", "tokens", "request", "requests", "day"})
"""A quota of these is a limit that passes by itself."""
_CLOSED = frozenset({"deactivated", "suspended", "terminated"})
_KEYS = frozenset({"invalid_api_key", "incorrect_api_key", "invalid_authentication"})
_SAID = re.compile(
    r"insufficient_quota|exceeded your current quota|billing_hard_limit|billing hard limit",
    re.IGNORECASE,
)
"""What OpenAI says, in a gateway's error that has no code of its own."""


def _of_words(
    status: int, code: str | None, kind: str | None, message: str | None
) -> TroubleReason | None:
    for told in filter(None, (code, kind)):
        words = set(_words(told))
        if told.lower() in _KEYS or words & _CLOSED:
            return "access"
        if (words & _SPENT and not words & _OF_A_PACE) or told.lower().startswith("billing"):
            return "credit"
    if status == _PAYMENT_REQUIRED:
        return "credit"
    unnamed = code is None or code.isdecimal()
    return "credit" if unnamed and _SAID.search(message or "") else None


def _words(code: str) -> Iterable[str]:
    return (word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", code))


# What is a line's, and what is the file's

_OF_LINES = frozenset(
    {
        *("invalid_json_line", "duplicate_custom_id", "missing_required_parameter"),
        *("mismatched_model", "model_mismatch", "model_not_found", "invalid_url", "url_mismatch"),
        *("streaming_unsupported", "invalid_request", "invalid_value", "invalid_type"),
        *("empty_file", "empty_batch", "too_many_tasks", "input_modified"),
    }
)
"""Codes of a file in whose lines the cause is, whether its number is told or not."""
_OF_LIMITS = frozenset({"token_limit_exceeded"})
_OF_FILES = frozenset({"input_no_permissions", "file_not_found", "input_file_not_found"})
_FILE_PARAMS = frozenset({"file_id", "input_file_id"})
_NOT_FOUND = re.compile(
    r"(cannot|could not|can't|unable to) (find|access|read|locate) (the )?(input |batch )*file"
    r"|\b(input |batch )*file\b.{0,120}(not found|does not exist|no longer exists)"
    r"|does not have access to (it|the (input )?file)\b",
    re.IGNORECASE | re.DOTALL,
)


def _names_a_part(param: str | None) -> bool:
    """True for a parameter of a line: ``body.input``, ``custom_id``."""
    first = (param or "").partition(".")[0].partition("[")[0]
    return first in {"body", "custom_id", "method", "url"}


def _is_of_the_file(param: str | None, message: str) -> bool:
    return param in _FILE_PARAMS or (param is None and bool(_NOT_FOUND.search(message)))


def _code(code: str | None, status: int = 0) -> str:
    # What is no word may be a sentence, and that may repeat a prompt.
    if code is not None and _CODE.fullmatch(code):
        return code
    return f"http_{status}" if status else _NO_CODE if code is None else "other"


_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None
