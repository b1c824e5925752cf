"""A state of a task as Celery's Redis backend writes it, for somebody else to write."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

__all__ = ["RedisState", "redis_state"]

_backends: Any = importlib.import_module("celery.backends.redis")
_task: Any = importlib.import_module("celery.app.task")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisState:
    """What is to stand under ``key``, for so many ``seconds`` (0 is for ever), and to be published
    there. Not where ``key`` holds a SUCCESS: that one Celery leaves alone.

    ``parameters`` are those with which the backend connects, as redis-py takes them.
    """

    key: str
    text: str = field(repr=False)
    seconds: int
    parameters: Mapping[str, Any] = field(repr=False)


def redis_state(task: Any, state: str, meta: Mapping[str, Any]) -> RedisState | None:
    """What ``task.update_state`` would write of the current run; None where it would not be that,
    for the task, its backend or the serializer of results is another than Celery's own.
    """
    backend, kind = task.backend, cast("Any", type(task))
    if type(backend) is not _backends.RedisBackend or backend.serializer != "json":
        return None
    if kind.update_state is not _task.Task.update_state:
        return None
    request = task.request
    result = backend.encode_result(meta, state)
    told = backend._get_result_meta(result=result, state=state, traceback=None, request=request)
    told["task_id"] = request.id
    return RedisState(
        key=_text(backend.get_key_for_task(request.id)),
        text=_text(backend.encode(told)),
        seconds=int(backend.expires or 0),
        parameters=backend.connparams,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
