"""A body that never ends is seen: 75 minutes, state PENDING, the slot gone, and nobody was told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from openai import OpenAI

from batchq import status
from batchq.flow.rescue import rescue
from batchq.journal.lease import start_keeping, stop_keeping
from tests.capture.bench import Bench, ask

client = OpenAI()


def test_a_run_that_goes_on_is_named(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    journal = bench.journal
    lease = journal.runs.lease("a-task", "shop.agent")
    assert journal.runs.claim("a-task", token=lease.token, nesting=0, retries=0).word == "CLAIMED"
    renewed = start_keeping(journal.store, lease, timedelta(minutes=1))
    try:
        renewed.renew()
        assert status(bench.app).long_runs == ()
        bench.journal.clock.advance(timedelta(minutes=11))
        (one,) = status(bench.app).long_runs
        assert (one.task_id, one.name) == ("a-task", "shop.agent")
        for _ in range(2):
            rescue(bench.app)
    finally:
        stop_keeping(renewed)
    told = [r.getMessage() for r in caplog.records if "has run for longer" in r.getMessage()]
    assert len(told) == 1
    assert "shop.agent [a-task]" in told[0]
    # Once it is over it is not named any more, and not kept.
    journal.runs.settle("a-task", token=lease.token, state="SUCCESS", final=True)
    assert status(bench.app).long_runs == ()
    assert not journal.store.redis.exists(journal.store.key("running"))


def test_rounds_are_shown(bench: Bench) -> None:
    """Each round waits for a batch of its own, and nobody knew how many a task took."""

    @bench.task
    def three() -> str:
        first = ask(client, "first")
        second = ask(client, f"second, after {first}")
        return ask(client, f"third, after {second}")

    @bench.task
    def one() -> str:
        return ask(client, "only")

    bench.run(three)
    bench.run(one)
    assert status(bench.app).rounds == {three.name: 3}
