"""What a test of batched tasks fails with, where the body itself must not see it."""

from __future__ import annotations

__all__ = ["Endless", "Failure", "NotYet", "Unanswered"]


class Failure(BaseException):
    """The test is at fault, not the task.

    No Exception, as pytest's own failures are none: neither an ``except`` of the body, nor
    ``autoretry_for``, nor Celery, which makes a failed task of any other, stands in its way.
    """


class Unanswered(Failure):
    """Something was asked for which the test has no answer, or none that can be used."""


class Endless(Failure):
    """A body that asked something new in each of its rounds was stopped."""


class NotYet(Failure):
    """A test wants something of a task, or of a batch, that has not come that far."""
