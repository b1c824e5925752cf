"""Celery's tasks and their requests: those that an app has, and those that run."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, cast

__all__ = [
    "active_apps",
    "annotated",
    "as_current_task",
    "context_of",
    "current_request",
    "pending_tasks",
    "registered_tasks",
    "task_from_function",
    "task_stack",
]

_annotations: Any = importlib.import_module("celery.app.annotations")
_state: Any = importlib.import_module("celery._state")
_task: Any = importlib.import_module("celery.app.task")


def task_stack() -> list[Any]:
    """The tasks that this thread runs now, the innermost last."""
    return cast("list[Any]", _state._task_stack.stack)


def current_request(task: Any) -> Any:
    """The request that this thread runs of a task."""
    return task.request_stack.top


@contextmanager
def as_current_task(task: Any, request: Any) -> Generator[None]:
    """Within it, this thread runs that request of the task, which another one has begun."""
    _state._task_stack.push(task)
    task.request_stack.push(request)
    try:
        yield
    finally:
        task.request_stack.pop()
        _state._task_stack.pop()


def active_apps() -> Iterable[Any]:
    """Every Celery app of this process."""
    return cast("Iterable[Any]", _state._get_active_apps())


def registered_tasks(app: Any) -> dict[str, Any]:
    """The tasks an app has made so far. Unlike ``app.tasks`` it does not finalize the app."""
    return cast("dict[str, Any]", app._tasks)


def pending_tasks(app: Any) -> list[Any]:
    """The proxies of the tasks that an app makes when it is finalized."""
    return list(app._pending)


def task_from_function(app: Any, fun: Any) -> Any:
    """Make a task, as ``@app.task`` does when its app is finalized."""
    return app._task_from_fun(fun)


def annotated(task: Any) -> set[str]:
    """The options of a task that the app's ``task_annotations`` have set."""
    found = _annotations.resolve_all(task.app.annotations, task)
    return {name for options in found for name in options}


def context_of(fields: Mapping[str, Any]) -> Any:
    """A task's request, as Celery's worker makes it of a message."""
    return _task.Context(fields)
