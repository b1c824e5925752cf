from __future__ import annotations

from tests.fundamentals.tasks import classify
from tests.harness import Stack


def test_a_decorated_task_returns_what_it_always_returned(stack: Stack) -> None:
    """The body, the call and the result stay as they are; the price is that of a batch."""
    now = classify("My parcel has not arrived.")
    later = classify.delay("My parcel has not arrived.")
    assert later.get(timeout=30) == now

    totals = stack.emulator.ledger()["models"]["gpt-5.6-luna"]
    assert totals["batch"]["input_tokens"] == totals["live"]["input_tokens"]
    assert totals["batch"]["cost_usd"] * 2 == totals["live"]["cost_usd"]
