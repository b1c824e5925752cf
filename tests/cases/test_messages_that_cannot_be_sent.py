"""A task whose own message cannot be sent on holds up nobody else, and is set aside in the end.

Messages go out many at once: one that was compressed by what this worker does not have ended the
step each time, and the other tasks that had their answers waited with it, for ever.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

import batchq
from batchq.flow.flush import flush
from batchq.flow.rescue import rescue
from batchq.flow.resume import resume
from tests.apps.base import make_app
from tests.harness import Emulator, Server
from tests.journals import Asked, capture, message
from tests.test_flow import Steps


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Steps:
    soon = {"batchq_poll_first": 0.05, "batchq_poll_longest": 0.3}
    return Steps(server, emulator, make_app("unsent", batchq_tick=0.2, **soon))


def spoil(steps: Steps, asked: Asked, **fields: Any) -> None:
    """What the journal keeps as the task's message is one that no worker here can send."""
    kept = json.loads(message(asked.task_id)) | fields
    journal = steps.journal
    written = journal.store.write(json.dumps(kept).encode())
    journal.store.redis.hset(journal.store.task_key(asked.task_id), "message", written)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"compression": "no such"}, id="compressed by what is not here"),
        pytest.param({"properties": {"expiration": {}}}, id="an expiry that is none"),
    ],
)
def test_the_others_go_on_and_it_is_set_aside(
    steps: Steps, caplog: pytest.LogCaptureFixture, fields: dict[str, Any]
) -> None:
    first, odd, last = (capture(steps.journal) for _ in range(3))
    spoil(steps, odd, **fields)
    flush(steps.app, everything=True)
    with caplog.at_level(logging.ERROR):
        (over,) = steps.until_over()
        assert over["answered"] == "3"
        assert set(steps.resumed()) >= {first.task_id, last.task_id}
        for _ in range(2):
            resume(steps.app, [odd.task_id])
    (one,) = batchq.dead(steps.app)
    assert (one.id, one.kind) == (odd.task_id, "task")
    assert one.reason.startswith("its message could not be sent 3 times, last because of ")
    assert len([each for each in caplog.records if each.exc_info]) == 1, "one traceback"
    rescue(steps.app)
    assert odd.task_id not in steps.journal.resuming.look().stuck(unclaimed_for=steps.longest)

    spoil(steps, odd)
    assert batchq.retry(steps.app, odd.task_id)
    assert odd.task_id in steps.resumed()
    assert batchq.dead(steps.app) == []
    assert steps.emulator.ledger()["batches_created"] == 1
