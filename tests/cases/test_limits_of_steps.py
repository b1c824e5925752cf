"""Limits that an app sets for all its tasks are not those of Batchq's steps.

With `task_soft_time_limit = 60`, as the most copied Django template has it, a download that takes
longer was cut off at each try, for ever: its tasks stayed BATCHED.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.apps import limited
from tests.harness import Stack

STEPS = ("flush", "poll", "fetch", "resume", "rescue")


@pytest.mark.parametrize("step", STEPS)
def test_a_step_has_limits_of_its_own(step: str) -> None:
    task: Any = limited.app.tasks[f"batchq.{step}"]
    assert task.rate_limit is None
    assert task.soft_time_limit > 3600
    assert task.time_limit > task.soft_time_limit
    assert task.acks_late
    assert task.ignore_result


def test_the_app_s_own_tasks_have_the_app_s() -> None:
    assert limited.ask.rate_limit == "100/s"
    assert limited.ask.time_limit == 6


def test_a_download_may_take_longer_than_the_app_s_tasks_may(stack: Stack) -> None:
    stack.emulator.fault("slow", call="content", seconds=8)
    worker = stack.worker("tests.apps.limited", *("--soft-time-limit", "4", "--time-limit", "6"))
    stack.beat("tests.apps.limited")
    assert limited.ask.delay("a long download").get(timeout=60)
    assert stack.emulator.fired("slow") == 1
    assert "TimeLimitExceeded" not in worker.output()
