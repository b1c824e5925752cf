"""Errors of our own are loud: in the log with their frames, and counted for `check` and metrics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import redis

from batchq.common.own_errors import frames_of, place_of
from batchq.journal import journal_of

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["tell_own_error"]

logger = logging.getLogger("batchq.own_errors")


def tell_own_error(app: Celery[Any], what: str, error: BaseException, **ids: str) -> None:
    """``what`` has not been done because of a mistake in Batchq; ``ids`` go into the log with it.

    Its words stay out of the log: they may repeat a prompt.
    """
    logger.error(
        "%s is skipped because of an error in Batchq itself (%s at %s); everything else goes on, "
        "and it is tried again. Please report it with these frames:\n%s",
        *(what, type(error).__name__, place_of(error), frames_of(error)),
        extra={"action": "own-error", **ids},
    )
    try:
        journal_of(app).own_errors.note(error)
    except redis.RedisError:
        return  # It is in the log.
