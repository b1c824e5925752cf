"""What a step raises: whose fault that is, and what is said of it.

A Redis, a broker or a disk that is away is nobody's fault, and passes. Anything else is about the
one batch or task that the step was at, and would be raised at each try.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import OperationalError

from batchq.common.own_errors import is_ours, place_of
from batchq.errors import BatchqError, ConfigurationError, KeyMissing, ProviderError
from batchq.journal import is_full, is_rubbish
from batchq.observe.own_errors import tell_own_error

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["StepFailed", "apart", "contained", "is_passing", "reason_of"]

logger = logging.getLogger("batchq.steps")

_LONGEST = 200


class StepFailed(BatchqError):
    """A step on a batch has raised an error of its own (the cause of this one). It was counted and
    is in the log; another step is sent, or the batch is set aside.
    """

    def __init__(self, batch: str, reason: str) -> None:
        super().__init__(batch, reason)
        self.batch = batch
        self.reason = reason

    def __str__(self) -> str:
        return f"a step on batch {self.batch} has failed: {self.reason}"


def is_passing(error: Exception) -> bool:
    """True where the world around a step is to blame, and not what the step was at."""
    if isinstance(error, redis.RedisError):
        return not is_rubbish(error) and not isinstance(error, redis.DataError)
    return isinstance(
        error, OSError | OperationalError | ProviderError | ConfigurationError | KeyMissing
    )


def reason_of(error: Exception) -> str:
    """The type of an error and its words, in one line that may be written anywhere. Of an error of
    our own its place instead: its words may repeat a prompt.
    """
    if is_ours(error):
        return f"{type(error).__name__} at {place_of(error)}"
    words = " ".join(str(error).split()).encode(errors="replace").decode()
    kind = type(error).__name__
    return f"{kind}: {words}"[:_LONGEST] if words else kind


@contextmanager
def contained(verb: str) -> Generator[None]:
    """One step, as a worker takes it: what passes is one line in its log, and no traceback."""
    try:
        yield
    except StepFailed:
        return
    except Exception as error:
        if not is_passing(error):
            raise
        logger.warning(
            "the step %s cannot be taken just now (%s); nothing is lost, and it is tried again",
            *(verb, reason_of(error)),
            extra={"action": "put-off"},
        )


_ENDS_THE_STEP = (SoftTimeLimitExceeded, MemoryError)


@contextmanager
def apart(
    app: Celery[Any], what: str, *, raising: tuple[type[Exception], ...] = (), **ids: str
) -> Generator[None]:
    """One item of many: whatever is wrong with it is logged, and the others go on.

    So it is where Redis has no memory for it. A Redis or a broker that is away concerns all of
    them, and is raised; so is what is in ``raising``. ``ids`` go into the log with it.
    """
    try:
        yield
    except StepFailed:
        return  # It is in the log.
    except Exception as error:
        its_own = isinstance(error, BatchqError) or is_full(error)
        if isinstance(error, (*_ENDS_THE_STEP, *raising)) or (is_passing(error) and not its_own):
            raise
        if is_ours(error):
            tell_own_error(app, what, error, **ids)
            return
        # The class of an error only, unless it is Batchq's: words may repeat what was found there.
        words = f": {error}" if isinstance(error, BatchqError) else ""
        logger.error(  # noqa: TRY400 likewise
            "%s is skipped (%s%s); everything else goes on, and it is tried again",
            *(what, type(error).__name__, words),
            extra={"action": "skip", **ids},
        )
