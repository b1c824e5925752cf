"""What form a file of calls has, and where the parts of a call are in it."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any

from batchq.money.usage import mapping

__all__ = [
    "COUNTS",
    "answer_in",
    "encoded",
    "endpoint_of",
    "is_document",
    "is_table",
    "text_in",
    "typed",
    "whole_in",
]

COUNTS = ("num_model_requests", "num_requests")


def is_table(line: bytes) -> bool:
    """True for the header of a usage export."""
    return not line.lstrip(BOM_UTF8).lstrip().startswith((b"{", b"[", b'"{')) and any(
        name.encode() in line for name in COUNTS
    )


def is_document(line: bytes) -> bool:
    """True where the first line is the beginning of JSON that goes on on the next."""
    line = line.removeprefix(BOM_UTF8).strip()
    if not line.startswith((b"{", b"[")):
        return False
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        # One bad line is no document; a document's first line is as short as this.
        return len(line) < 200 and line[-1:] in b"{[,"
    return isinstance(found, list)


def typed(text: str) -> Any:
    if text.strip().lower() in {"true", "false"}:
        return text.strip().lower() == "true"
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return text


def answer_in(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part of a logged call that reports its usage."""
    response = mapping(value.get("response"))
    parts = (value, response, mapping(response.get("body")))
    return next((part for part in parts if isinstance(part.get("usage"), dict)), None)


def endpoint_of(request: Mapping[str, Any]) -> str | None:
    """Where a body goes that does not say so."""
    if isinstance(request.get("messages"), list):
        return "/v1/chat/completions"
    if request.get("input") is None:
        return None
    model = str(request.get("model", ""))
    named = {"embedding": "/v1/embeddings", "moderation": "/v1/moderations"}
    return next((url for word, url in named.items() if word in model), "/v1/responses")


def encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def text_in(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def whole_in(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
