"""What Batchq uses of Celery and kombu that neither promises to keep, all in one place.

tests/test_seams.py holds each of them against the installed release.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, cast

__all__ = [
    "active_apps",
    "add_queue",
    "ignores_result",
    "pending_tasks",
    "registered_tasks",
    "serializer_of",
    "task_from_function",
    "task_stack",
]

_state: Any = importlib.import_module("celery._state")
_trace: Any = importlib.import_module("celery.app.trace")
_serialization: Any = importlib.import_module("kombu.serialization")


def task_stack() -> list[Any]:
    """The tasks that this thread runs now, the innermost last."""
    return cast("list[Any]", _state._task_stack.stack)


def active_apps() -> Iterable[Any]:
    """Every Celery app of this process."""
    return cast("Iterable[Any]", _state._get_active_apps())


def ignores_result(task: Any) -> bool:
    """Whether the current run of ``task`` stores no result, by the task or by the call."""
    return bool(_trace.get_actual_ignore_result(task, task.request))


def serializer_of(content_type: str | None) -> str | None:
    """The name under which kombu knows the serializer of a content type."""
    return cast("str | None", _serialization.registry.type_to_name.get(content_type or ""))


def registered_tasks(app: Any) -> dict[str, Any]:
    """The tasks an app has made so far. Unlike ``app.tasks`` it does not finalize the app."""
    return cast("dict[str, Any]", app._tasks)


def pending_tasks(app: Any) -> list[Any]:
    """The proxies of the tasks that an app makes when it is finalized."""
    return list(app._pending)


def task_from_function(app: Any, fun: Any) -> Any:
    """Make a task, as ``@app.task`` does when its app is finalized."""
    return app._task_from_fun(fun)


def add_queue(app: Any, name: str) -> None:
    """Let an app know one more queue: a worker that was not told (-Q) which to consume takes it."""
    queues = app.amqp.queues
    if name not in queues:
        queues.add(queues.new_missing(name))
