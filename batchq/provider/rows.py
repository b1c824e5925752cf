"""A row of a result file: what it says, and the body of its answer as it stands there.

A body is most of its row. It is read from its own place, so that what is kept of an answer are its
own bytes, and nobody has to write JSON anew for it.
"""

from __future__ import annotations

import json
import re
import secrets
from http import HTTPStatus
from typing import Any

from batchq.provider.descriptions import Row
from batchq.provider.values import Json, object_in, text_in, whole_in


def parse_row(line: bytes) -> Row | None:
    """One line of a result file; None where it is not one (cut short, blank, rubbish)."""
    try:
        row, raw = _apart(line) or (object_in(json.loads(line)), None)
    except (ValueError, RecursionError):
        return None
    custom_id = text_in(row.get("custom_id"))
    if custom_id is None:
        return None
    response = object_in(row.get("response"))
    status, body = _status(response), _body(response.get("body"))
    error: object = row.get("error")
    if not error and (status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        # What went wrong may be told where an error of the prompt itself would be.
        error = object_in(body).get("error") or text_in(body)
    details = object_in(error)
    return Row(
        custom_id=custom_id,
        status_code=status,
        body=body,
        request_id=_header(response.get("request_id")),
        error_code=_code(details.get("code")),
        error_message=text_in(details.get("message")) or text_in(error),
        error_type=text_in(details.get("type")),
        raw=raw,
    )


def _apart(line: bytes) -> tuple[Json, bytes] | None:
    """A row and the bytes of its body, where that is an object that is found at the first look.

    Raises ValueError or RecursionError where it is no JSON; None says nothing of that.
    """
    text = line.decode(errors="replace")
    start = text.find(_BODY) + len(_BODY)
    start += text[start : start + 1] == " "
    if start < len(_BODY) or text[start : start + 1] != "{" or "\ufeff" in text or "\ufffd" in text:
        return None
    body, end = _decoder.raw_decode(text, start)
    # Whatever stood there: if it is the body of this row's response, our word is there now.
    envelope = object_in(_decoder.decode(f'{text[:start]}"{_WORD}"{text[end:]}'))
    response = object_in(envelope.get("response"))
    if response.get("body") != _WORD:
        return None
    response["body"] = body
    return envelope, text[start:end].encode()


_BODY = '"body":'
_WORD = secrets.token_hex(16)
"""What no file holds."""
_decoder = json.JSONDecoder()


def _code(value: object) -> str | None:
    """A code; one that is a status may come as a number."""
    return text_in(value) or (str(value) if whole_in(value) in _STATUSES else None)


def _status(response: Json) -> int | None:
    if "status_code" in response:
        told = response["status_code"]
        # Some write the reason behind it: "200 OK".
        status = whole_in(told.partition(" ")[0] if isinstance(told, str) else told)
        return status if status in _STATUSES else None
    # Some servers leave it out. An answer is an answer; an error is asked again.
    body = object_in(response.get("body"))
    return 200 if body and not body.get("error") else None


_STATUSES = frozenset((*range(200, 300), *range(400, 600)))
"""What can be an answer or an error; with another one a prompt counts as not run."""


def _body(value: object) -> Any:
    """A body; one server writes it as a string that holds the object."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _header(value: object) -> str | None:
    """What may stand in the header of a response."""
    return value if isinstance(value, str) and _HEADER.fullmatch(value) else None


_HEADER = re.compile(r"[!-~]{1,200}")
