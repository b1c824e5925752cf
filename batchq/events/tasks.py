"""What happens to tasks, and to the lanes in which their prompts wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from batchq.common.troubles import StuckReason, lane_is_stuck
from batchq.common.words import many, span
from batchq.events.record import Event

__all__ = ["LaneStuck", "StuckReason", "TaskDead", "TasksRescued"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDead(Event):
    """A task goes no further by itself: it killed its worker ``kills`` times in a row and has
    failed, or, with ``kills`` 0, it is set aside for another ``reason``.
    """

    task_id: str
    name: str
    kills: int
    reason: str = ""

    def __str__(self) -> str:
        task = f"task {self.name} [{self.task_id}]"
        retry = f"batchq.retry(app, {self.task_id!r}) tries it again"
        if self.reason:
            return f"{task} is {self.reason}; {retry}"
        return f"{task} killed its worker {self.kills} times in a row; {retry}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStuck(Event):
    """A lane is to be flushed, and its first prompt does not move; it was asked ``oldest`` ago.

    Told once an hour for each lane.
    """

    lane: str
    prompts: int
    tokens: int
    oldest: timedelta
    why: StuckReason

    def __str__(self) -> str:
        stuck = lane_is_stuck(self.lane, self.why, self.prompts)
        return f"{stuck}, the oldest for {span(self.oldest)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksRescued(Event):
    """Rescue sent answered tasks again that nobody had taken on."""

    tasks: int

    def __str__(self) -> str:
        return f"{many(self.tasks, 'task')} sent again"
