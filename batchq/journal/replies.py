"""What Redis replies, read: also where somebody else has written into our keys."""

from __future__ import annotations

import json
import logging
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

import redis
from redis.exceptions import OutOfMemoryError

from batchq.errors import JournalUnreadable, KeyMissing
from batchq.journal.codec import Codec
from batchq.journal.records import (
    Claim,
    Entry,
    Waited,
)
from batchq.prompt import Lane, Outcome, split_id

__all__ = [
    "CHUNK",
    "DAMAGED",
    "chunks",
    "count_of",
    "fingerprint_in",
    "id_in",
    "ids_in",
    "is_full",
    "is_rubbish",
    "milliseconds",
    "opened",
    "parts_of",
    "prompts_named",
    "prompts_out",
    "read_claim",
    "replies_of",
    "say_skipped",
    "to_dict",
]

logger = logging.getLogger("batchq.journal")

T = TypeVar("T")

CHUNK = 500
"""Prompts that one script call or round trip moves: few enough that Redis stays responsive."""

DAMAGED = Outcome.error(500, code="journal_damaged", message="The record of this request is lost.")

RUBBISH = ("WRONGTYPE", "attempt to", "not an integer", "not a valid", "hash value")
"""What Redis says, also from within a script, of a key or field that somebody else has written."""


def milliseconds(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)


def prompts_out(fields: Mapping[bytes, bytes]) -> Iterator[tuple[int, Lane]]:
    """The prompts in a task's hash that have no outcome, with their lanes.

    Those in a batch as well: they may be back in their lane a moment later.
    """
    for name, place in fields.items():
        number, _, what = name.partition(b":")
        if what == b"place" and place != b"answered":
            record = json.loads(fields[number + b":record"])
            yield int(number), Lane.from_name(record["lane"])


def to_text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """A hash for people to look at; what is no text is shown as far as it is one."""
    return {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in fields.items()
    }


def to_dict(flat: Sequence[bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def opened(codec: Codec, data: bytes, what: str, read: Callable[[bytes], T]) -> T:
    try:
        return read(codec.open(data))
    except KeyMissing as error:
        raise KeyMissing(error.source, what) from None
    except (ValueError, LookupError, TypeError, zlib.error):
        raise JournalUnreadable(what) from None


def is_rubbish(error: Exception) -> bool:
    """True where what a key holds is to blame, and not the server or its settings."""
    return isinstance(error, redis.ResponseError) and any(word in str(error) for word in RUBBISH)


def is_full(error: Exception) -> bool:
    """True where Redis has no memory for a write. Others, that need none, may well succeed."""
    return isinstance(error, OutOfMemoryError)


def replies_of(pipe: Any) -> list[Any]:
    """The replies of a pipeline, with an error in the place of each that a bad key gave."""
    replies: list[Any] = pipe.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception) and not is_rubbish(reply):
            raise reply
    return replies


def read_claim(fields: Mapping[str, bytes], codec: Codec, what: str) -> Claim:
    return opened(codec, b"", what, lambda _: _claim_of(fields, codec))


def _claim_of(fields: Mapping[str, bytes], codec: Codec) -> Claim:
    entries: list[Entry] = []
    steps: dict[str, str] = {}
    for name, value in fields.items():
        number, _, what = name.partition(":")
        if number == "once":
            steps[what] = codec.open(value).decode()
        elif what == "record":
            record = json.loads(value)
            lane = Lane.from_name(record["lane"])
            outcome = fields.get(f"{number}:outcome")
            entry = Entry(
                number=int(number),
                endpoint=lane.endpoint,
                model=lane.model,
                fingerprint=record["fingerprint"],
                round=record["round"],
                outcome=Outcome.from_bytes(codec.open(outcome)) if outcome is not None else None,
                site=record.get("site", ""),
                account=lane.account,
            )
            entries.append(entry)
    entries.sort(key=lambda entry: entry.number)
    next_number = int(fields.get("calls", b"0"))
    return Claim(
        word="CLAIMED",
        entries=tuple(entries),
        steps=steps,
        next_number=next_number,
        trace=fields.get("trace", b"").decode(errors="replace"),
        waited=_waited(fields),
        read=frozenset(map(int, fields.get("read", b"").split())),
    )


def _waited(fields: Mapping[str, bytes]) -> Waited | None:
    """The wait before this run, if it is traced; not before a retry, whose answers were there."""
    if "trace" not in fields or "waiting" not in fields:
        return None
    # A call that went live has no time at which it was asked.
    numbers = [name.removesuffix(":at") for name in fields if name.endswith(":at")]
    records = {number: json.loads(fields[f"{number}:record"]) for number in numbers}
    newest = max((record["round"] for record in records.values()), default=0)
    last = {number: one for number, one in records.items() if one["round"] == newest}
    if not last:
        return None
    lanes = [Lane.from_name(record["lane"]) for record in last.values()]
    receipts = [_receipt_in(fields.get(f"{number}:receipt")) for number in last]
    return Waited(
        asked_at=min(count_of(fields[f"{number}:at"]) for number in last),
        answered_at=max(answered_at for _, answered_at in receipts),
        prompts=len(last),
        lanes={lane.name: lane.model for lane in lanes},
        batches=tuple(sorted({batch for batch, _ in receipts if batch})),
        attempts=1 + max(count_of(fields.get(f"{number}:attempts")) for number in last),
    )


def _receipt_in(receipt: bytes | None) -> tuple[str, int]:
    """Which batch has brought an answer, and when; no task fails for want of that."""
    try:
        found: Any = json.loads(receipt or b"{}")
        return str(found.get("batch", "")), count_of(found.get("answered_at"))
    except (ValueError, TypeError, AttributeError):
        return "", 0


def fingerprint_in(record: bytes) -> str:
    try:
        return str(json.loads(record)["fingerprint"])
    except (ValueError, LookupError, TypeError):
        return ""  # Sealing finds out what is wrong with it.


def say_skipped(what: str, error: Exception, **ids: str) -> None:
    # The class of an error only: its words may repeat what was found there.
    kind = str(error) if isinstance(error, JournalUnreadable) else type(error).__name__
    logger.error(
        "%s is skipped, for somebody else has written to its key in Redis (%s); everything else "
        "goes on",
        *(what, kind),
        extra={"action": "skip", **ids},
    )


def count_of(value: Any) -> int:
    try:
        return int(value or 0)
    except ValueError:
        return 0


def ids_in(members: Iterable[bytes]) -> list[str]:
    """The ids of prompts among some members; what somebody else has put there is left out."""
    return [found for member in members if (found := id_in(member)) is not None]


def id_in(member: bytes) -> str | None:
    try:
        return member.decode() if _ID.fullmatch(member) else None
    except UnicodeDecodeError:
        return None


_ID = re.compile(rb".*-[0-9]+", re.DOTALL)


def parts_of(custom_id: str) -> tuple[str, int]:
    parts = split_id(custom_id)
    if parts is None:
        raise ValueError(f"{custom_id!r} is not the id of a prompt")
    return parts


def prompts_named(custom_ids: Iterable[str]) -> list[dict[str, str]]:
    """Prompts as scripts know them. The number is part of a field's name there: no double."""
    return [
        {"custom_id": custom_id, "number": str(parts_of(custom_id)[1])} for custom_id in custom_ids
    ]


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk
