"""The scripts of a journal, run on a server that may have lost them a moment ago.

A server that was restarted, or a replica that has taken over, knows no script. A call it could not
run had no effect, so that call is made again, with the script itself; the calls beside it that had
their effect are not.

What a script is told by name is its first argument, as JSON, which `lua/includes/args.lua` reads.
What is compressed, encrypted or JSON itself stands behind it as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import NoScriptError

__all__ = ["Call", "Scripts", "arguments", "texts"]

Call = tuple[Sequence[str], Sequence[Any]]
"""The keys and the arguments of one call."""


def arguments(*plain: Any, **named: Any) -> list[Any]:
    """What a script is told. Names that are None are left out: in Lua a null of JSON is true.

    Numbers become those of Lua, which are exact up to 2**53; what is stored is written from them as
    it is here. The number of a call is part of a field's name there, so it goes as a text.
    """
    said = {name: value for name, value in named.items() if value is not None}
    return [json.dumps(said, ensure_ascii=False, separators=(",", ":")), *plain]


def texts(fields: Mapping[str, Any]) -> dict[str, str]:
    """Fields as they are to stand in a hash."""
    return {name: str(value) for name, value in fields.items()}


class Scripts:
    """Scripts by name, to be run by ``client``."""

    def __init__(self, client: Any, sources: Mapping[str, str]) -> None:
        self._redis = client
        self._sources = sources
        self._names = {name: _digest(source) for name, source in sources.items()}

    def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """What the script replies."""
        try:
            return self._redis.evalsha(self._names[name], len(keys), *keys, *args)
        except NoScriptError:
            return self._redis.eval(self._sources[name], len(keys), *keys, *args)

    def run_all(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """What one script replies to each of these calls, which are sent at once.

        Where one of them fails, the first error is raised once all were made.
        """
        replies = self._sent("evalsha", self._names[name], calls)
        lost = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        again = self._sent("eval", self._sources[name], [calls[at] for at in lost])
        for at, reply in zip(lost, again, strict=True):
            replies[at] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _sent(self, command: str, script: str, calls: Sequence[Call]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for keys, args in calls:
            getattr(pipe, command)(script, len(keys), *keys, *args)
        replies: list[Any] = pipe.execute(raise_on_error=False)
        return replies


def _digest(source: str) -> str:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
