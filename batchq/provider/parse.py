"""What providers answer, with what they write differently made equal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from batchq.provider.descriptions import STATUSES, BatchErrorLine, ProviderBatch, Row
from batchq.provider.values import Json, object_in, objects_in, sound, text_in, time_in, whole_in


def parse_batch(answer: Json) -> ProviderBatch:
    """A batch that has an id. Whatever else is odd of it is left out."""
    counts = object_in(answer.get("request_counts"))
    total, completed, failed = (
        min(max(whole_in(counts.get(name)) or 0, 0), _MOST)
        for name in ("total", "completed", "failed")
    )
    status = (text_in(answer.get("status")) or "unknown").strip().lower()[:_LONGEST_WORD]
    status = _STATUS_WORDS.get(status, status)
    files = [text_in(answer.get(f"{kind}_file_id")) for kind in ("output", "error")]
    if status not in STATUSES and any(files) and 0 < total == completed + failed:
        # Whatever the word: every line has been run, and there is a file to read.
        status = "completed"
    return ProviderBatch(
        id=text_in(answer["id"]) or "",
        status=status,
        input_file_id=text_in(answer.get("input_file_id")),
        output_file_id=files[0],
        error_file_id=files[1],
        total=total,
        completed=completed,
        failed=failed,
        created_at=time_in(answer.get("created_at")),
        expires_at=time_in(answer.get("expires_at")),
        errors=_errors(answer.get("errors")),
        usage=object_in(answer.get("usage")) or None,
        model=text_in(answer.get("model")),
        metadata={
            sound(name): sound(str(value))
            for name, value in object_in(answer.get("metadata")).items()
        },
        object=_shown({**answer, "errors": _without_sentences(answer.get("errors"))}),
    )


_MOST = 2**53
"""More lines than that nobody has: a number that Redis can hold, whatever a provider writes."""
_LONGEST_WORD = 64


def _shown(answer: Json) -> Json:
    """What is kept to be looked at, if it can be written at all."""
    try:
        json.dumps(answer)
    except (RecursionError, ValueError):
        return {}
    return answer


_STATUS_WORDS = {
    "canceling": "cancelling",
    "canceled": "cancelled",
    # Of compatible servers.
    "queued": "validating",
    "scheduling": "validating",
    "running": "in_progress",
    "succeeded": "completed",
}


def _without_sentences(given: object) -> object:
    kept = [{n: v for n, v in line.items() if n != "message"} for line in _error_lines(given)]
    return {"object": "list", "data": kept} if kept else None


def _error_lines(given: object) -> list[Json]:
    return objects_in(given) or objects_in(object_in(given).get("data"))


def _errors(given: object) -> tuple[BatchErrorLine, ...]:
    return tuple(
        BatchErrorLine(
            code=text_in(line.get("code")),
            message=sound(str(line.get("message") or "")),
            param=text_in(line.get("param")),
            line=whole_in(line.get("line")),
        )
        for line in _error_lines(given)
    )


def parse_row(line: bytes) -> Row | None:
    """One line of a result file; None where it is not one (cut short, blank, rubbish)."""
    try:
        row = object_in(json.loads(line))
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
    )


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


def split_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a file that comes in chunks, without their newline; blank ones too."""
    # Parts are joined once per line: a 20 MB row comes in hundreds of chunks.
    parts: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        for start in rest:
            yield b"".join(parts)
            parts = [start]
    if last := b"".join(parts):
        yield last
