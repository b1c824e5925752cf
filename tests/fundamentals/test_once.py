from __future__ import annotations

from tests.fundamentals.tasks import ask, number_and_describe
from tests.harness import Stack


def test_a_step_that_must_not_run_twice_is_run_once(stack: Stack) -> None:
    """`batchq.once` journals what a step returned; later runs of the body get that."""
    assert number_and_describe.delay("a blue chair").get(timeout=30) == f"1. {ask('a blue chair')}"
    assert stack.redis.get("numbers given") == "1"
