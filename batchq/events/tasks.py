"""What happens to tasks, and to the lanes in which their prompts wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from batchq.common.words import many, span
from batchq.events.record import Event

__all__ = ["LaneStuck", "PromptDead", "StuckReason", "TasksRescued"]

StuckReason = Literal["no_room", "no_account", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptDead(Event):
    """A task killed its worker ``kills`` times in a row and has failed, or a batch whose steps did
    is set aside: one of ``task_id`` and ``batch`` is empty. ``name`` is the task's or the lane's.

    Where it is for another ``reason``, ``kills`` is 0.
    """

    task_id: str = ""
    batch: str = ""
    name: str
    kills: int
    reason: str = ""

    def __str__(self) -> str:
        retry = f"batchq.retry(app, {self.task_id or self.batch!r}) tries it again"
        if self.reason:
            whose = f"task {self.name} [{self.task_id}]"
            if self.batch:
                whose = f"batch {self.batch} of lane {self.name}"
            return f"{whose} is {self.reason}; {retry}"
        if self.task_id:
            what = f"task {self.name} [{self.task_id}] killed its worker"
        else:
            what = f"steps on batch {self.batch} of lane {self.name} killed their worker"
        return f"{what} {self.kills} times in a row; {retry}"


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
        return (
            f"lane {self.lane} is stuck, {_WHY_STUCK[self.why]}: "
            f"{many(self.prompts, 'prompt')}, the oldest for {span(self.oldest)}"
        )


_WHY_STUCK: Mapping[StuckReason, str] = {
    "no_room": "the provider has no room",
    "no_account": "its account is not in the settings",
    "unknown": "nothing flushes it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksRescued(Event):
    """Rescue sent answered tasks again that nobody had taken on."""

    tasks: int

    def __str__(self) -> str:
        return f"{many(self.tasks, 'task')} sent again"
