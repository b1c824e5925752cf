"""Errors of our own: those that no server, no setting and nobody else's value is to blame for."""

from __future__ import annotations

import traceback
import zlib
from pathlib import Path

import redis
from kombu.exceptions import OperationalError

from batchq.errors import BatchqError

__all__ = ["frames_of", "is_ours", "place_of"]

_FOREIGN = (ValueError, zlib.error, BatchqError, redis.RedisError, OSError, OperationalError)
"""What is raised where a value is somebody else's, or a server or a disk is away."""

_PACKAGE = Path(__file__).parents[1]


def is_ours(error: BaseException) -> bool:
    """True for what the code of Batchq, or what it was given no say in, has raised unforeseen."""
    return isinstance(error, Exception) and not isinstance(error, _FOREIGN)


def place_of(error: BaseException) -> str:
    """The innermost place in our own code: ``flow/flush.py:123``."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    if not ours:
        return "elsewhere"
    return f"{Path(ours[-1].filename).relative_to(_PACKAGE)}:{ours[-1].lineno}"


def frames_of(error: BaseException) -> str:
    """Its traceback without its words, which may repeat what was found in Redis or a file."""
    return "".join(traceback.format_tb(error.__traceback__)).rstrip()
