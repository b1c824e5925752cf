"""The event ``task-batched``, sent by the worker's main process, as Celery sends task-succeeded.

So it is sent where events are on, and by the connection that has them already. From the pool it
cost each capture a message of its own, whether somebody listened or not.
"""

from __future__ import annotations

from typing import Any

from kombu.utils.imports import symbol_by_name

from batchq.capture.parked import Parked
from batchq.celery_side.placement import is_batched

__all__ = ["take_requests"]


def take_requests(sender: Any = None, **_: Any) -> None:
    """A worker starts, and has yet to make the requests of its tasks."""
    for task in sender.app.tasks.values():
        if is_batched(task):
            task.Request = _that_tells(symbol_by_name(task.Request))


def _that_tells(base: Any) -> Any:
    """The class of requests, Celery's or the app's own, that says when its task waits."""

    class TellsBatched(base):  # type: ignore[misc]
        def on_failure(self, exc_info: Any, *how: Any, **more: Any) -> Any:
            ended: Any = base.on_failure(self, exc_info, *how, **more)
            error = getattr(exc_info.exception, "exc", exc_info.exception)
            if isinstance(error, Parked) and error.args in _WAITS:
                self.send_event("task-batched")
            return ended

    return TellsBatched


_WAITS = (("CAPTURED",), ("ADOPTED",), ("ALREADY",))
