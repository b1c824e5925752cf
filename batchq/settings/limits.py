"""What a provider takes in a batch: endpoints, and how much of it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import PositiveInt

from batchq.common.record import Record

__all__ = ["BATCH_ENDPOINTS", "Limits"]

BATCH_ENDPOINTS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/edits",
        "/v1/images/generations",
        "/v1/moderations",
        "/v1/responses",
        "/v1/videos",
    }
)


class Limits(Record):
    """What the provider takes: of one file, and of prompts waiting at the same time."""

    _what: ClassVar[str] = "limit"

    lines: PositiveInt = 50_000
    bytes: PositiveInt = 190_000_000
    embedding_inputs: PositiveInt = 50_000
    enqueued_tokens: PositiveInt | dict[str, PositiveInt] | None = None
