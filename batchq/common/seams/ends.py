"""How Celery describes the end of a task's run that is no error."""

from __future__ import annotations

import functools
import importlib
import logging
from types import TracebackType
from typing import Any

from celery.exceptions import Ignore

__all__ = ["describe_shortly"]

_trace: Any = importlib.import_module("celery.app.trace")


def describe_shortly(ends: type[Ignore]) -> None:
    """Let Celery describe a run that ends so by the one frame that raised it.

    It describes each end twice, by every frame with all positions in its code, and sends that from
    the pool to the worker's main process. Of an error somebody reads it; of these nobody does, and
    it is more than half of what such a run costs.
    """
    described: Any = _trace.TraceInfo
    celerys = described.__init__
    if hasattr(celerys, "__wrapped__"):
        return

    @functools.wraps(celerys)
    def __init__(self: Any, state: str, retval: Any = None, *more: Any) -> None:  # noqa: N807
        if isinstance(retval, ends):
            # It is what sys.exc_info() gives Celery in the next step.
            retval.__traceback__ = _last(retval.__traceback__)
        celerys(self, state, retval, *more)

    described.__init__ = __init__
    _pass_over(described, ends)


def _pass_over(described: Any, ends: type[Ignore]) -> None:
    """Celery's line in the log says of such a run that it is ignored: where nobody is to see it, it
    need not be worked out.
    """
    celerys = described.handle_ignore

    @functools.wraps(celerys)
    def handle_ignore(self: Any, task: Any, request: Any, **how: Any) -> None:
        if not isinstance(self.retval, ends) or _trace.logger.isEnabledFor(logging.INFO):
            celerys(self, task, request, **how)

    described.handle_ignore = handle_ignore


def _last(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback
