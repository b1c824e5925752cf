"""Who asks: a body, a thread, a coroutine. Equal calls of two of them are two questions; an equal
call of one that was told to wait is the same question once more.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Asked", "Asker", "Caller", "caller_here"]

_moments = itertools.count(1)
"""The order of what happens in this process."""


@dataclass(eq=False, slots=True, kw_only=True)
class Asker:
    """A body, or a thread or function that works for it: from its start until others hear of its
    end.
    """

    parent: Caller | None = None
    began: float = field(default_factory=_moments.__next__)
    ended: float = math.inf

    def end(self) -> None:
        self.ended = next(_moments)


@dataclass(frozen=True, slots=True)
class Coroutine:
    """A coroutine, and whose context it runs in. When it began nobody tells."""

    task: asyncio.Task[object]
    context: Asker | None
    began: float = math.inf


Caller = Asker | Coroutine


def caller_here(context: Asker | None) -> Caller | None:
    """Who makes a call here, in a context that belongs to ``context``."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return context if task is None else Coroutine(task, context)


def _line(caller: Caller | None) -> Iterator[object]:
    """This caller, and those on whose behalf it works."""
    while caller is not None:
        if isinstance(caller, Coroutine):
            yield caller.task
            caller = caller.context
        else:
            yield caller
            caller = caller.parent


@dataclass(frozen=True, slots=True)
class Asked:
    """Who has asked a question, and when."""

    by: Caller
    at: float = field(default_factory=_moments.__next__)

    def is_answered_to(self, caller: Caller) -> bool:
        """True where ``caller`` has been told that the question is captured, or could have been:
        it has asked it itself, or works for one who had, or for one that saw its asker end.
        """
        who, *_ = _line(self.by)
        me, *behind = _line(caller)
        if who is me:
            return True
        if any(one is who for one in behind):
            return self.at < caller.began
        if isinstance(self.by, Coroutine):
            return self.by.task.done()
        return self.by.ended < caller.began
