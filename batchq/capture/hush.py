"""Captures are no errors: asyncio and threading do not report them.

A capture ends the coroutine or thread that asked, and when nobody waits for that any more, Python
tells of it as of an error that nobody has seen.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from batchq.capture.causes import members_of
from batchq.capture.http.seats import seat
from batchq.capture.turns import is_capture

__all__ = ["hush_captures"]


def hush_captures() -> None:
    """Leave captures out of what asyncio, concurrent.futures and threading report, once."""
    for name in ("asyncio", "concurrent.futures"):
        # Not added twice: it is the same one.
        logging.getLogger(name).addFilter(_is_news)
    seat(threading, "excepthook", _hushed)


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and _is_capture(record.exc_info[1]))


def _hushed(report: Callable[[Any], Any]) -> Callable[[Any], None]:
    def hushed(args: Any) -> None:
        if not _is_capture(args.exc_value):
            report(args)

    return hushed


def _is_capture(error: BaseException | None) -> bool:
    """True for a capture, and for a group of nothing else."""
    members = members_of(error)
    return all(map(_is_capture, members)) if members else is_capture(error)
