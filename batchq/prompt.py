"""What a task asks and what comes back: frozen records, and their form on a batch line.

One identity serves everywhere: the Celery task id with the number of the call in the body is
the line's ``custom_id``, and the suffix of every key that belongs to the prompt.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

__all__ = [
    "Lane",
    "Outcome",
    "Prompt",
    "custom_id",
    "estimate_tokens",
    "fingerprint",
    "pack",
    "split_id",
    "unpack",
]

_SMALL = 512
"""Bytes under which compressing saves less than it costs."""
_SHORT_LIVED = 2048
"""The same for an outcome: its task comes for it in minutes, where a question waits for hours. To
compress it and back was a fifth of what a fetch costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The prompts that may share a batch: one account, endpoint and model, and one label."""

    account: str
    endpoint: str
    model: str
    label: str = ""

    @property
    def name(self) -> str:
        """The lane in one readable string: ``openai|/v1/chat/completions|gpt-5.6-luna|``."""
        parts = (self.account, self.endpoint, self.model, self.label)
        return "|".join(quote(part, safe="/:.-_@ ") for part in parts)

    @classmethod
    def from_name(cls, name: str) -> Lane:
        account, endpoint, model, label = (unquote(part) for part in name.split("|"))
        return cls(account=account, endpoint=endpoint, model=model, label=label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One captured request, as the journal and a batch line need it.

    ``body`` is the request's JSON in UTF-8; ``tokens`` is an estimate of its input tokens,
    ``inputs`` how many texts an embeddings request carries (0 elsewhere), ``round`` the
    number of the run of the body that asked it, and ``site`` the place in its code that did.
    """

    task_id: str
    number: int
    lane: Lane
    body: bytes = field(repr=False)
    fingerprint: str
    tokens: int
    inputs: int
    round: int
    site: str = ""

    @property
    def custom_id(self) -> str:
        return custom_id(self.task_id, self.number)

    @property
    def size(self) -> int:
        """Bytes of this prompt's line in a batch file, its newline included."""
        # Of a body of many megabytes no copy is made to measure it.
        return len(line(self.custom_id, self.lane.endpoint, b"")) + len(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came back for one prompt: an HTTP status and a JSON body.

    A prompt that never ran has an outcome too: the error that the SDK would raise for it,
    under a status that says so (504 expired, 503 cancelled or lost).
    """

    status_code: int
    body: bytes = field(repr=False)
    request_id: str = ""

    @classmethod
    def error(
        cls, status_code: int, *, code: str | None, message: str, param: str | None = None
    ) -> Outcome:
        """An outcome in the form in which OpenAI words its own errors."""
        kind = "invalid_request_error" if status_code < 500 else "server_error"
        content = {"message": message, "type": kind, "param": param, "code": code}
        return cls(status_code=status_code, body=json.dumps({"error": content}).encode())

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status_code < 300

    def to_bytes(self) -> bytes:
        head = json.dumps([self.status_code, self.request_id]).encode()
        return pack(head + b"\n" + self.body, small=_SHORT_LIVED)

    @classmethod
    def from_bytes(cls, data: bytes) -> Outcome:
        head, _, body = unpack(data).partition(b"\n")
        status_code, request_id = json.loads(head)
        return cls(status_code=status_code, body=body, request_id=request_id)


def custom_id(task_id: str, number: int) -> str:
    return f"{task_id}-{number}"


def split_id(custom_id: str) -> tuple[str, int] | None:
    """The task id and call number in a ``custom_id``; None where it is not one of ours."""
    task_id, dash, number = custom_id.rpartition("-")
    # isdecimal() alone would let "²" and Arabic digits through to a key.
    return (task_id, int(number)) if dash and number.isascii() and number.isdecimal() else None


def line(custom_id: str, endpoint: str, body: bytes) -> bytes:
    """One line of a batch file, newline included. The body goes in as it was captured."""
    name, url = _text.encode(custom_id), _text.encode(endpoint)
    head = f'{{"custom_id": {name}, "method": "POST", "url": {url}, "body": '
    return b"%b%b}\n" % (head.encode(), body)


_text = json.JSONEncoder(ensure_ascii=False)


def estimate_tokens(body: bytes) -> int:
    """About how many input tokens a request has; more often too many than too few."""
    # Measured on o200k: 6 bytes a token for prose, 2 to 3 for JSON and digits. A third of the bytes
    # errs on the safe side for what people send.
    return len(body) // 3 + 1


def fingerprint(endpoint: str, body: dict[str, Any]) -> str:
    """Equal for requests that ask the same, whatever the order of their keys."""
    text = json.dumps([endpoint, body], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def pack(data: bytes, *, small: int = _SMALL) -> bytes:
    """Compress what is large enough to gain by it. The first byte says which was done."""
    return b"=" + data if len(data) < small else b"z" + zlib.compress(data, 1)


def unpack(data: bytes) -> bytes:
    return data[1:] if data[:1] == b"=" else zlib.decompress(data[1:])
