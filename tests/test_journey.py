"""The whole journey, with real workers and beat, against the emulator."""

from __future__ import annotations

from tests.apps import journey
from tests.harness import Stack


def test_a_decorated_task_returns_what_the_plain_one_returns(stack: Stack) -> None:
    """The one line that is added changes the price, not the answer."""
    stack.worker("tests.apps.journey")
    stack.beat("tests.apps.journey")
    batched = journey.classify.delay("my invoice is wrong")
    live = journey.classify_live.delay("my invoice is wrong")
    assert batched.get(timeout=30) == live.get(timeout=30)
    assert stack.emulator.ledger()["batches_created"] == 1


def test_two_calls_in_one_body_are_two_rounds(stack: Stack) -> None:
    stack.worker("tests.apps.journey")
    stack.beat("tests.apps.journey")
    assert journey.refine.delay("a text").get(timeout=30)
