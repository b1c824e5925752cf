"""JSON as it comes from a stranger: typed where it can be, checked where it cannot."""

import json
import secrets
from typing import Any, cast

# In this order: Python's booleans are integers too.
TYPE_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a decimal"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
    (type(None), "null"),
)

# Any: these objects are written by the clients under test, so nothing about them is known.
JsonObject = dict[str, Any]


def as_object(value: Any) -> JsonObject | None:
    """The value as an object, or None where it is something else."""
    return cast(JsonObject, value) if isinstance(value, dict) else None


def as_list(value: Any) -> list[Any] | None:
    """The value as a list, or None where it is something else."""
    if not isinstance(value, list):
        return None
    known: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
    return known


def named(value: Any) -> str:
    """The JSON type of a value, with its article, as OpenAI's messages say it."""
    return next((words for kind, words in TYPE_NAMES if isinstance(value, kind)), "a value")


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def encode(value: Any) -> bytes:
    """Compact JSON on one line."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair can be said in JSON, but not in UTF-8.
        return json.dumps(value, separators=(",", ":")).encode()


def decode(text: bytes) -> Any:
    """Strict JSON: Python's NaN and Infinity are none. Raises ValueError for all that is wrong."""
    try:
        return json.loads(text.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def identifier(prefix: str, size: int = 32) -> str:
    return prefix + secrets.token_hex(size // 2)
