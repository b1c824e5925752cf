"""Time limits: Celery's own, where one is met while a run goes to wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError

from batchq.common.seams.revokes import SOFT_LIMIT_SIGNAL
from batchq.common.seams.tasks import task_stack
from batchq.journal import journal_of

__all__ = ["forget_lost", "hold_soft_limit"]


def hold_soft_limit() -> Callable[[], bool]:
    """From now on a soft time limit interrupts nothing, until the function returned is called.

    That says whether one was met. A limit met before it is raised here.
    """
    number = SOFT_LIMIT_SIGNAL
    if number is None or threading.current_thread() is not threading.main_thread():
        return lambda: False  # Celery has no soft limits here.
    met: list[int] = []

    def note(met_now: int, _: FrameType | None) -> None:
        met.append(met_now)

    before = signal.signal(number, note)

    def release() -> bool:
        signal.signal(number, before)
        return bool(met)

    return release


def forget_lost(sender: Any = None, task_id: str = "", exception: Any = None, **_: Any) -> None:
    """The worker's main process has failed a task whose process it has lost or is about to kill.

    Its run may have asked just before, and an answer would bring the task back to life.
    """
    lost = isinstance(exception, (TimeLimitExceeded, WorkerLostError))
    if lost and not task_stack() and "batchq.flush" in sender.app.tasks:
        journal_of(sender.app).tasks.drop(task_id)
