"""What the end of a run says about its questions, and about its answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.exceptions import Retry

from batchq.capture.causes import bad_answer_in, causes
from batchq.capture.difference import places
from batchq.capture.run import Run
from batchq.capture.turns import is_capture
from batchq.capture.unread import Changed, changed, skipped
from batchq.errors import (
    CaptureSwallowed,
    JournalUnreadable,
    PromptError,
    RequestChanged,
)

__all__ = ["asked_again_after", "refusal"]

logger = logging.getLogger("batchq.capture")


def refusal(
    run: Run, error: BaseException | None, body_of: Callable[[int], bytes | None]
) -> PromptError | None:
    """What the end of a run says about its questions: in the log, or as the error it ends with.

    With an error nothing of what it asked is sent. ``error`` is how the body ended, ``body_of``
    gives the request of an earlier call.
    """
    problem: PromptError
    for one in changed(run.asked, run.claim.entries, run.read):
        problem = _request_changed(run, one, body_of)
        if run.strict or one.rounds >= _ROUNDS_UNREAD:
            run.asked.clear()
            return problem
        _warn(run, problem)
    if run.asked and not _was_told(error):
        problem = CaptureSwallowed(run.task_name, run.task_id, run.places[run.asked[0].site])
        if run.strict:
            run.asked.clear()
            return problem
        _warn(run, problem)
    if not run.asked and error is None:
        _tell_skipped(run)
    return None


_ROUNDS_UNREAD = 2
"""How many rounds of one place may be left unread, one after the other, before its task ends."""


def _request_changed(
    run: Run, one: Changed, body_of: Callable[[int], bytes | None]
) -> RequestChanged:
    try:
        before = body_of(one.before.number)
    except JournalUnreadable:
        before = None
    return RequestChanged(
        *(run.task_name, run.task_id, one.before.number, one.before.endpoint, one.before.model),
        run.places[one.asked.site],
        places(before, one.asked.body) if before is not None else "",
    )


def _was_told(error: BaseException | None) -> bool:
    """True where the body ended by the signal, or by an error that came of it."""
    return error is not None and any(map(is_capture, causes(error, incidental=True)))


def _tell_skipped(run: Run) -> None:
    left = skipped(run.claim.entries, run.read)
    if left:
        logger.warning(
            "task %s [%s] has ended without the answers to its calls %s, which are paid for: its "
            "body did not make them again. A cache or memory of its own does that; keep it in "
            "batchq.once(), or outside of what is asked",
            *(run.task_name, run.task_id, ", ".join(str(entry.number) for entry in left)),
            extra={"action": "resume", "task_id": run.task_id},
        )


def _warn(run: Run, problem: PromptError) -> None:
    logger.warning(
        "%s Set strict=True to make this an error.",
        problem,
        extra={"action": "capture", "task_id": run.task_id},
    )


def asked_again_after(
    run: Run, error: BaseException, ask_again_on: tuple[type[BaseException], ...] | None, task: Any
) -> list[int]:
    """The calls whose answers a retry after ``error`` is not to get, but to ask anew."""
    if isinstance(error, Retry) and _has_other_arguments(error, task.request):
        # Another question; to the replay it would look like the old one in other words.
        return [entry.number for entry in (*run.claim.entries, *run.used)]
    if ask_again_on is None:
        from openai import OpenAIError

        ask_again_on = (OpenAIError, ValueError, LookupError)
    bad = bad_answer_in(error, ask_again_on)
    return [] if bad is None else run.ask_again(bad)


def _has_other_arguments(retry: Any, request: Any) -> bool:
    """True after ``self.retry(args=...)`` or ``kwargs=`` with others than this run has."""
    args: tuple[Any, ...] = tuple(retry.sig.args if retry.sig is not None else request.args)
    kwargs: dict[str, Any] = retry.sig.kwargs if retry.sig is not None else request.kwargs
    return args != tuple(request.args) or kwargs != request.kwargs
