"""For your own test suite: tasks that run here and now, and answers that the test gives."""

from batchq.testing.asked import Asked, Request
from batchq.testing.failures import Endless, Failure, NotYet, Unanswered
from batchq.testing.inline import answers
from batchq.testing.manual import Batches, manual
from batchq.testing.repeat import assert_repeatable
from batchq.testing.replies import error, expired, in_turn, tool_call

__all__ = [
    "Asked",
    "Batches",
    "Endless",
    "Failure",
    "NotYet",
    "Request",
    "Unanswered",
    "answers",
    "assert_repeatable",
    "error",
    "expired",
    "in_turn",
    "manual",
    "tool_call",
]
