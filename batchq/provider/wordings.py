"""What servers say in words only: the status of an error that another server has answered with.

Pure. Who passes an error on often writes down what the SDK said of it, "Error code: 400 - {…}", and
gives it no status, or that of a failure of its own.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

__all__ = ["error_in_words", "status_in_words"]

_STATUS = re.compile(
    r"""\b (?: error\ code | status (?:[ _]code)? | http (?:/[\d.]+)? (?:\ error)? )
    ["']? \s* [:=]? \s* ([45]\d\d) \b""",
    re.IGNORECASE | re.VERBOSE,
)
_LONGEST = 20_000


def status_in_words(words: str) -> int | None:
    """The first HTTP status of an error that is named as one, if there is any."""
    found = _STATUS.search(words[:_LONGEST])
    return int(found[1]) if found else None


def error_in_words(words: str) -> Mapping[str, Any]:
    """The error object that is quoted in the words, as JSON or as Python would show it."""
    start, end = words.find("{"), words.rfind("}")
    if start < 0 or end < start or end - start > _LONGEST:
        return {}
    quoted = words[start : end + 1]
    for read in (_json, _python):
        found = _quoted(read, quoted)
        if found:
            inner = found.get("error")
            return cast("Mapping[str, Any]", inner) if isinstance(inner, dict) else found
    return {}


def _quoted(read: Callable[[str], Any], text: str) -> Mapping[str, Any]:
    try:
        found = read(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return {}
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _json(text: str) -> Any:
    return json.loads(text)


def _python(text: str) -> Any:
    return ast.literal_eval(text)
