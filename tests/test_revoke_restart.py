"""A revoke that no worker remembers any more, on every pool."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from celery.result import AsyncResult

from batchq.journal import journal_of
from batchq.overview import status
from tests.apps.revokes import app
from tests.harness import Stack, wait_until

APP = "tests.apps.revokes"


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_revoke_outlives_every_worker(
    stack: Stack, pool: Literal["prefork", "threads", "solo"]
) -> None:
    """Its batch is under way; the answer comes when only workers run that never heard of it."""
    first = stack.worker(APP, pool=pool, wait=False)
    stack.beat(APP)
    first.wait_for_output(" ready.")
    stack.emulator.fault("stuck_in_progress", at=0, times=None)
    say, journal = app.tasks["batched.say"], journal_of(app)
    revoked: Any = say.delay("Revoked.")
    kept = say.delay("Kept.")
    wait_until(lambda: journal.waiting.count() == 2, description="they wait")
    app.tasks["batchq.flush"].delay(everything=True)
    wait_until(
        lambda: [batch.state for batch in status(app).batches] == ["submitted"],
        description="the batch is submitted",
    )
    revoked.revoke()
    wait_until(lambda: revoked.state == "REVOKED", description="it is revoked")
    wait_until(lambda: journal.waiting.count() == 1, description="the journal lets go")
    first.stop()
    stack.worker(APP, pool=pool)
    stack.emulator.lift("stuck_in_progress")
    assert kept.get(timeout=25)
    assert str(AsyncResult(revoked.id, app=app).state) == "REVOKED"
    (closed,) = wait_until(lambda: journal.batches.closed(10), description="the batch is over")
    assert (closed.answered, closed.unknown, closed.asked_again) == (1, 1, 0)
    runs = [json.loads(str(one)) for one in stack.redis.lrange(f"revokes:runs:{revoked.id}", 0, -1)]
    assert runs == [0]
    assert stack.redis.llen(f"revokes:{revoked.id}") == 1, "one signal"
