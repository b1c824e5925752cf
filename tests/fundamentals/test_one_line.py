from __future__ import annotations

import pytest

from tests.fundamentals.tasks import classify
from tests.harness import Stack


def test_a_decorated_task_returns_what_it_always_returned(stack: Stack) -> None:
    """The body, the call and the result stay as they are; the price is that of a batch."""
    before = stack.emulator.ledger()["totals"]
    now = classify("My parcel has not arrived.")
    later = classify.delay("My parcel has not arrived.")
    assert later.get(timeout=30) == now

    after = stack.emulator.ledger()["totals"]
    live, batch = (after[way]["cost_usd"] - before[way]["cost_usd"] for way in ("live", "batch"))
    assert batch == pytest.approx(live / 2)
