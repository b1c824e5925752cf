"""What providers answer, with what they write differently made equal."""

from __future__ import annotations

import json
from collections.abc import Iterator

from batchq.provider.descriptions import STATUSES, BatchErrorLine, ProviderBatch
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
