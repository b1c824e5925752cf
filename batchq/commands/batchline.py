"""One line of a batch file: the object on it, its inputs, its names."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["inputs_of", "object_on", "word"]


def object_on(line: bytes, *, first: bool) -> tuple[Mapping[str, Any] | None, str]:
    """The object on a line; where there is none, why."""
    if first and line.startswith(BOM_UTF8):
        return None, "the file begins with a byte order mark; write it as UTF-8 without one"
    if not line.strip():
        return None, "the line is empty"
    try:
        found: object = json.loads(line.decode(), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        return None, f"it is not UTF-8 (at byte {error.start + 1})"
    except json.JSONDecodeError as error:
        return None, f"it is not JSON (at character {error.colno}: {error.msg})"
    except ValueError as error:
        return None, f"it is not JSON ({error})"
    except RecursionError:
        return None, "it is nested too deeply"
    if not isinstance(found, dict):
        return None, "it is no object"
    return cast("dict[str, Any]", found), ""


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number there")


def inputs_of(given: object) -> list[object]:
    """The inputs of an embeddings request: a text, a list of token ids, or a list of either."""
    if given is None:
        return []
    if not isinstance(given, list):
        return [given]
    items = cast("list[object]", given)
    return [items] if items and isinstance(items[0], int) else items


_PLAIN = re.compile(r"[\w./:@-]{1,100}", re.ASCII)


def word(value: object) -> str:
    """A name as it stands there; what may be a text is not repeated."""
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else "something else"
