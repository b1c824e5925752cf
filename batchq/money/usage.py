"""The tokens an answer used, as it reports them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

__all__ = ["Usage", "mapping", "parsed", "tokens", "usage_of"]

_MOST_TOKENS = 10**9
"""More than this no answer can have used: such a number is rubbish, and would overflow Redis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer. Those read from the provider's cache (`cached_tokens`) and those
    written to it (`written_tokens`) are part of `input_tokens`, and never more than it.
    """

    input_tokens: int
    cached_tokens: int = 0
    output_tokens: int
    written_tokens: int = 0


def usage_of(body: object) -> Usage | None:
    """The usage an answer reports, whatever its endpoint; None where it reports none.

    `body` is its JSON, as bytes or parsed. Never raises: a number that is none, negative or
    impossible counts as 0.
    """
    answer = parsed(body) if isinstance(body, bytes) else body
    usage = mapping(mapping(answer).get("usage"))
    output = tokens(usage, "completion_tokens", "output_tokens")
    given = tokens(usage, "prompt_tokens", "input_tokens")
    if given is None:
        total = tokens(usage, "total_tokens")
        given = None if total is None else max(0, total - (output or 0))
    if given is None and output is None:
        return None
    read, written = _cache(usage)
    read = min(read, given or 0)
    return Usage(
        input_tokens=given or 0,
        cached_tokens=read,
        output_tokens=output or 0,
        written_tokens=min(written, (given or 0) - read),
    )


def _cache(usage: Mapping[str, Any]) -> tuple[int, int]:
    """How many of the input tokens were read from the cache, and how many written to it."""
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    found = mapping(details)
    return tokens(found, "cached_tokens") or 0, tokens(found, "cache_write_tokens") or 0


def parsed(body: bytes) -> object:
    try:
        return cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None


def mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def tokens(usage: Mapping[str, Any], *names: str) -> int | None:
    """The first number of tokens under one of the names."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
            return value
    return None
