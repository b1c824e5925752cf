"""Bodies that are coroutines, in a worker with its pool, its limits and its retries."""

from __future__ import annotations

import concurrent.futures

import pytest

from tests.apps import awaiting
from tests.harness import Stack


def test_bodies_run_to_their_ends_as_any_other(stack: Stack) -> None:
    """One after the other in the same processes, with one client for all of their loops."""
    worker = stack.worker("tests.apps.awaiting")
    stack.beat("tests.apps.awaiting")
    sent = [awaiting.late.delay(f"text {number}") for number in range(8)]
    retried = awaiting.retried.delay("again")
    limited = awaiting.limited.delay("a text")
    cancelled = awaiting.cancelled.delay("cancelled")
    live = [awaiting.waiting.apply_async(("now",), headers={"batchq": "live"}) for _ in range(4)]
    (now,) = {each.get(timeout=60) for each in live}
    answers = [each.get(timeout=60) for each in sent]
    assert {first for first, *_ in answers} == {now}
    assert all(len(texts) == 2 for _, *texts in answers)
    assert retried.get(timeout=60)
    assert limited.get(timeout=60).endswith(", in time")
    with pytest.raises(concurrent.futures.CancelledError):
        cancelled.get(timeout=60)
    assert "WorkerLost" not in worker.output()
    # Of the live calls within batched bodies, each was made in one of two runs.
    assert stack.emulator.ledger()["live_calls"] == 4 + len(sent)
