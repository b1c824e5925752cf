"""What an error comes from, and whether an answer is at its bottom.

Libraries put errors of their own around those that say that an answer was bad, and around ours.
"""

from __future__ import annotations

from collections.abc import Iterator

from celery.exceptions import Retry

from batchq.errors import BatchqError

__all__ = ["bad_answer_in", "causes", "members_of"]


def bad_answer_in(
    error: BaseException, kinds: tuple[type[BaseException], ...]
) -> BaseException | None:
    """The error, or the one that it stands for, that is of these kinds; None where none is.

    None as well where one of ours is beneath it: that is about a call and not about an answer.
    """
    if any(isinstance(cause, BatchqError) for cause in causes(error, incidental=True)):
        return None
    return next((cause for cause in causes(error) if isinstance(cause, kinds)), None)


def causes(error: BaseException, *, incidental: bool = False) -> Iterator[BaseException]:
    """The error and those that it stands for, each once, the outermost first.

    incidental: also those that were only being handled when another one happened.
    """
    known: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) not in known:
            known.add(id(one))
            yield one
            waiting += _beneath(one, incidental=incidental)


def _beneath(error: BaseException, *, incidental: bool) -> list[BaseException]:
    context = error.__context__
    stands_for = context is not None and _stands_for(error, context)
    found: list[object] = [
        getattr(error, "exc", None) if isinstance(error, Retry) else None,
        error.__cause__,
        context if incidental or stands_for else None,
        *members_of(error),
    ]
    return [one for one in found if isinstance(one, BaseException)]


def _stands_for(error: BaseException, handled: BaseException) -> bool:
    """True where the one was raised in the place of the other, by the clause that handled it.

    A database that is away in that clause, or a cache that was looked into before, is another
    matter, and no reason to pay for an answer twice.
    """
    if error.__suppress_context__:
        return False
    if isinstance(error, Retry):
        return True  # Raised by a method of the task.
    raised, caught = error.__traceback__, handled.__traceback__
    while raised is not None and raised.tb_next is not None:
        raised = raised.tb_next
    return raised is not None and caught is not None and raised.tb_frame is caught.tb_frame


def members_of(error: object) -> tuple[BaseException, ...]:
    """The errors in a group, those in groups in it as groups; none where it is no group."""
    # What type checkers make of isinstance() differs.
    members: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return members if isinstance(error, BaseExceptionGroup) else ()
