"""Signals: what happens on the journey, for your own code to hear. They work as Celery's own do.

    from batchq.signals import batch_failed

    @batch_failed.connect
    def page_somebody(sender, event, **_):
        pager.say(str(event))

``sender`` is the Celery app, ``event`` one frozen record of `batchq.events`. A receiver runs in the
one process that took the step (a worker's), after the step is in the journal, and holds it up until
it returns: hand long work to a task. What it raises is logged by Celery and stops nothing.

Each signal is sent at most once: a process that dies between the record and the signal takes the
signal along. The journal is the truth; `batchq.status` and `batchq.dead` read it.
"""

from __future__ import annotations

from collections.abc import Mapping

from celery.utils.dispatch import Signal

from batchq import events

__all__ = [
    "SIGNALS",
    "account_paused",
    "batch_failed",
    "batch_finished",
    "batch_set_aside",
    "batch_submitted",
    "budget_near",
    "lane_stuck",
    "limit_reached",
    "task_dead",
]


def _signal(name: str) -> Signal:
    return Signal(name=name, providing_args=["event"])


batch_submitted = _signal("batch_submitted")
"""A batch was created at the provider: `BatchSubmitted`."""

batch_finished = _signal("batch_finished")
"""A batch is completed and its answers are given out: `BatchFinished`."""

batch_failed = _signal("batch_failed")
"""A batch ended otherwise: `BatchFailed`. Of each batch that was submitted, one of both is sent."""

task_dead = _signal("task_dead")
"""A task killed its workers, or its message cannot be sent on: `TaskDead`."""

batch_set_aside = _signal("batch_set_aside")
"""A batch waits for somebody to look at it: `BatchSetAside`."""

limit_reached = _signal("limit_reached")
"""The provider takes no more for now: `LimitReached`."""

account_paused = _signal("account_paused")
"""An account can do nothing for a while, and nothing of it is sent: `AccountPaused`."""

budget_near = _signal("budget_near")
"""80 % or 100 % of ``batchq_budget`` are reached: `BudgetNear`."""

lane_stuck = _signal("lane_stuck")
"""What should leave a lane does not: `LaneStuck`."""

SIGNALS: Mapping[type[events.Event], Signal] = {
    events.BatchSubmitted: batch_submitted,
    events.BatchFinished: batch_finished,
    events.BatchFailed: batch_failed,
    events.TaskDead: task_dead,
    events.BatchSetAside: batch_set_aside,
    events.LimitReached: limit_reached,
    events.AccountPaused: account_paused,
    events.BudgetNear: budget_near,
    events.LaneStuck: lane_stuck,
}
"""The signal of each record. Events of other kinds have none."""
