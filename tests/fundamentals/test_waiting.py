from __future__ import annotations

import batchq
from tests.fundamentals.tasks import app, describe
from tests.harness import Stack, wait_until


def test_a_task_that_waits_for_its_answer_is_batched(stack: Stack) -> None:
    """It holds no worker meanwhile. `get` waits on, and `status` says where everything is."""
    stack.emulator.fault("stuck_in_progress", at=0)
    result = describe.delay("a waiting room")
    wait_until(lambda: str(result.state) == "BATCHED", description="the task is BATCHED")
    wait_until(lambda: batchq.status(app).batched == 1, description="its prompt is in a batch")
    assert batchq.status(app).tasks_waiting == 1

    stack.emulator.lift("stuck_in_progress")
    assert result.get(timeout=30)
    assert result.state == "SUCCESS"
