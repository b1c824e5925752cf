"""How settings check what they are given: frozen records that refuse in words and show nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from batchq.errors import ConfigurationError

__all__ = ["Record", "explain", "nearest"]


class Record(BaseModel):
    """Frozen, and refusing names it does not know in words that never repeat a value.

    A value given under a wrong name may well be a key.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)
    _what: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _known_names_only(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name in cast("dict[str, object]", given):
                if name not in cls.model_fields:
                    raise unknown_name(name, cls.model_fields, cls._what)
        return cast("object", given)


def unknown_name(name: str, known: Iterable[str], what: str) -> ConfigurationError:
    return ConfigurationError(name, None, f"there is no {what} of that name", nearest(name, known))


def nearest(name: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return close[0] if close else None


def explain(error: ValidationError, prefix: str, *, show: bool) -> ConfigurationError:
    """The first complaint of pydantic, in our words; `show` repeats the value that was given."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    hidden = not show or first["loc"][:1] in [
        ("accounts",),
        ("redis_url",),
        ("redis_options",),
        ("large_bodies",),
    ]
    given = None if hidden else repr(first["input"])
    expected = first["msg"].removeprefix("Value error, ").replace("Input should be", "accepted is")
    return ConfigurationError((prefix + path).rstrip("."), given, expected)
