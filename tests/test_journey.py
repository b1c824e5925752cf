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
    ledger = stack.emulator.ledger()
    assert (ledger["batches_created"], ledger["lines_known"], ledger["live_calls"]) == (1, 1, 1)


def test_two_calls_in_one_body_are_two_batches(stack: Stack) -> None:
    """The second question is made of the first answer, so it goes into a batch of its own."""
    stack.worker("tests.apps.journey")
    stack.beat("tests.apps.journey")
    batched = journey.refine.delay("a text")
    live = journey.refine_live.delay("a text")
    assert batched.get(timeout=30) == live.get(timeout=30)
    ledger = stack.emulator.ledger()
    assert (ledger["batches_created"], ledger["lines_known"], ledger["live_calls"]) == (2, 2, 2)
    assert ledger["duplicates"] == {}
