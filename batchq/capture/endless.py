"""A body that never ends: its process is, where that process runs nothing else."""

from __future__ import annotations

import logging
import os
import signal
import time

from billiard.process import current_process

__all__ = ["end_this_process"]

logger = logging.getLogger("batchq.endless")

_PAUSE = 1.0


def end_this_process(task_name: str, task_id: str, times: int) -> None:
    """End a process of a prefork pool, whose body swallows every signal that would end it.

    Celery fails the task with WorkerLostError, or delivers it again (``acks_late`` with
    ``reject_on_worker_lost``), and then it counts as one that kills its workers. A process that
    runs other tasks too stays: there the body is slowed down, and goes on being named.
    """
    if current_process().name == "MainProcess":
        time.sleep(_PAUSE)
        return
    logger.error(
        "the process of task %s [%s] is ended, for its body has swallowed batchq's signal %d times "
        "and would never end",
        *(task_name, task_id, times),
        extra={"action": "capture", "task_id": task_id},
    )
    os.kill(os.getpid(), signal.SIGKILL)
