"""STARTED (``track_started``), said by us once a run is claimed.

Celery says it at each delivery, before our claim: a second delivery of a task that had failed would
make it STARTED for ever. Only a SUCCESS does Celery not overwrite.
"""

from __future__ import annotations

import os
from typing import Any

from celery.states import STARTED

from batchq.celery_side.placement import is_batched
from batchq.common.seams.results import ignores_result

__all__ = ["say_started", "take_over"]

_OURS = "batchq_track_started"


def take_over(sender: Any = None, **_: Any) -> None:
    """A worker starts, and has yet to make of each task what its pool runs."""
    for task in sender.app.tasks.values():
        if task.track_started and is_batched(task):
            task.track_started = False
            setattr(task, _OURS, True)


def say_started(task: Any) -> None:
    """The current run of ``task`` goes ahead."""
    request = task.request
    if getattr(task, _OURS, False) and not request.is_eager and not ignores_result(task):
        meta = {"pid": os.getpid(), "hostname": request.hostname}
        task.backend.store_result(request.id, meta, STARTED, request=request)
