"""Where a secret comes from: "env:NAME", "file:/path" or "call:module:function", never itself.

It is read when it is needed, and kept nowhere in here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import inspect
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

from batchq.errors import ConfigurationError

__all__ = [
    "call_function",
    "fingerprint",
    "function_source",
    "is_source",
    "keeps_a_secret",
    "nothing_read",
    "read",
    "source",
]

_SOURCES = (
    'accepted is where the {what} {comes} from: "env:NAME", "file:/path" or '
    '"call:package.module:function"; the {what} {itself} not accepted here, so that nothing of it '
    "reaches a log, a message or a page"
)
_NUMBER = {
    False: {"comes": "comes", "itself": "itself is"},
    True: {"comes": "come", "itself": "themselves are"},
}
_FUNCTION = r"call:[A-Za-z_][\w.]*:[A-Za-z_]\w*"
_SOURCE = re.compile(rf"env:[A-Za-z_]\w*|file:/.+|{_FUNCTION}", re.ASCII)


def is_source(value: object) -> bool:
    return isinstance(value, str) and _SOURCE.fullmatch(value) is not None


def source(value: object, setting: str, what: str) -> str:
    """``value``, if it says where the ``what`` comes from."""
    if isinstance(value, str) and is_source(value):
        return value
    # Not a ValueError: pydantic would keep the value, which may be a key, in its own error.
    raise ConfigurationError(
        setting, None, _SOURCES.format(what=what, **_NUMBER[what.endswith("s")])
    )


def function_source(value: object, setting: str, what: str) -> str:
    """``value``, if it names the function that makes the ``what``."""
    if isinstance(value, str) and re.fullmatch(_FUNCTION, value, re.ASCII):
        return value
    raise ConfigurationError(
        setting,
        None,
        f'accepted is "call:package.module:function", a function without arguments that gives '
        f"the {what}",
    )


def read(given: str, setting: str, what: str) -> str:
    """The secret as it is now."""
    kind, _, where = given.partition(":")
    try:
        found: object = _READERS[kind](where, setting)
    except (OSError, UnicodeDecodeError) as error:
        raise nothing_read(given, setting, what, type(error).__name__) from None
    if not isinstance(found, str) or not found.strip():
        raise nothing_read(given, setting, what, "nothing there")
    return found.strip()


def nothing_read(given: str, setting: str, what: str, why: str) -> ConfigurationError:
    return ConfigurationError(setting, repr(given), f"no {what} can be read from it ({why})")


def call_function(given: str, setting: str) -> Any:
    """What the function that ``given`` names returns; one that is async is awaited."""
    return _call(given.partition(":")[2], setting)


def _environment(name: str, _setting: str) -> str | None:
    return os.environ.get(name)


def _file(path: str, _setting: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _call(target: str, setting: str) -> Any:
    module, _, function = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)()
        return _awaited(found) if inspect.isawaitable(found) else found
    except Exception as error:  # noqa: BLE001 a user's function raises what it likes
        # The name of the error only: its text comes from a vault's client and may hold anything.
        raise ConfigurationError(
            setting, repr(f"call:{target}"), f"the call failed ({type(error).__name__})"
        ) from None


def _awaited(found: Any) -> Any:
    """Its result, from a loop of its own: one may be running in this thread."""

    async def settled() -> Any:
        return await found

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(copy_context().run, asyncio.run, settled()).result()


_READERS: Mapping[str, Callable[[str, str], object]] = {
    "env": _environment,
    "file": _file,
    "call": _call,
}


def fingerprint(key: str) -> str:
    """Tells two keys apart without showing either."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def keeps_a_secret(secret: str) -> bool:
    """False for what is so short that anybody could sign with it: of "whsec_" nothing is left."""
    if not secret.startswith("whsec_"):
        return len(secret) >= _SHORTEST_SECRET
    try:
        return len(base64.b64decode(secret.removeprefix("whsec_"))) >= _SHORTEST_SECRET
    except ValueError:
        return False


_SHORTEST_SECRET = 16
