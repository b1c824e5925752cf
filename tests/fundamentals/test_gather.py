from __future__ import annotations

from tests.fundamentals.tasks import ask, compare
from tests.harness import Stack


def test_calls_that_do_not_depend_on_each_other_are_asked_together(stack: Stack) -> None:
    """`batchq.gather` makes them one round: one wait, and the body runs twice."""
    result = compare.delay("apples", "pears")
    assert result.get(timeout=30) == [ask("apples"), ask("pears")]
    assert stack.redis.get("compare ran") == "2"
