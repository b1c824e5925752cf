"""Celery's results: their states, the errors they tell, the keys that a Redis keeps them in."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from celery.states import FAILURE, READY_STATES
from kombu.exceptions import ContentDisallowed, DecodeError

__all__ = [
    "OVERWRITTEN",
    "UNREADABLE",
    "ResultKeys",
    "ignores_result",
    "rank_state",
    "result_keys",
    "store_errors_by",
]

UNREADABLE = (
    *(DecodeError, ContentDisallowed),
    *(ValueError, LookupError, TypeError, AttributeError),
)
"""What Celery raises of a result that somebody else has written over."""

OVERWRITTEN = "OVERWRITTEN"
"""Such a result's state."""

_states: Any = importlib.import_module("celery.states")
_trace: Any = importlib.import_module("celery.app.trace")
_ensure_serializable: Any = importlib.import_module(
    "celery.utils.serialization"
).ensure_serializable


def ignores_result(task: Any) -> bool:
    """Whether the current run of ``task`` stores no result, by the task or by the call."""
    return bool(_trace.get_actual_ignore_result(task, task.request))


def rank_state(state: str, *, after: str) -> None:
    """Say where a state of our own stands among Celery's, for those who see events in any order.

    Flower shows the highest state it has heard of. One that Celery does not know is above REVOKED.
    """
    _states.PRECEDENCE_LOOKUP[state] = _states.PRECEDENCE_LOOKUP[after] + 0.5


Described = Callable[[BaseException], tuple[str, str, tuple[object, ...]] | None]


def store_errors_by(described: Described) -> None:
    """Let results tell errors as ``described`` says: by a module, a class in it, and its arguments.

    It is asked of every error that is stored as text, and says None of those that it leaves alone.
    """
    backend: Any = importlib.import_module("celery.backends.base").Backend
    celerys = backend.prepare_exception
    if hasattr(celerys, "__wrapped__"):
        return

    @functools.wraps(celerys)
    def prepare_exception(self: Any, exc: BaseException, *how: Any, **more: Any) -> Any:
        stored: Any = celerys(self, exc, *how, **more)
        # As text, and not as it is: that is a dict.
        found = described(exc) if hasattr(stored, "keys") else None
        if found is not None:
            module, kind, args = found
            message = _ensure_serializable(args, self.encode)
            stored |= {"exc_type": kind, "exc_module": module, "exc_message": message}
        return stored

    backend.prepare_exception = prepare_exception


# One trip for some hundred keys: with a million tasks waiting, each tick prolongs thousands.
_PROLONG = """
for at, key in ipairs(KEYS) do
  local left, wanted = redis.call("PTTL", key), 1000 * tonumber(ARGV[at])
  if left > 0 and left < wanted then
    redis.call("PEXPIRE", key, wanted)
  end
end
"""


class ResultKeys:
    """The results that an app's backend keeps, and, in Redis, the keys it keeps them in.

    ``lasting`` are the seconds after which results and chords expire; 0 where they do not, or where
    it is not for us to prolong them: what is not ``in_redis``.
    """

    def __init__(self, backend: Any, *, redis_backend: bool) -> None:
        self._backend = backend
        self.in_redis = redis_backend
        results = int(backend.expires or 0) if redis_backend else 0
        # From Celery 5.7 on, chords have a life of their own.
        chords = int(getattr(backend, "chord_expires", results) or 0) if redis_backend else 0
        self.lasting = (results, chords)

    def states(self, task_ids: Sequence[str]) -> dict[str, str]:
        """The state of each task that has one."""
        if not self.in_redis:
            return {task_id: _state(self._backend.get_state, task_id) for task_id in task_ids}
        return {
            task_id: _state(lambda result: self._backend.decode(result)["status"], result)
            for task_id, result in self._kept(task_ids)
        }

    def final(self, task_ids: Sequence[str]) -> dict[str, tuple[str, Any]]:
        """The state and the result of each task that has come to its end; an error is an exception,
        as ``AsyncResult.get`` would raise it, and so is a result that nobody can read.
        """
        if not self.in_redis:
            pairs = [(task_id, self._backend.get_task_meta(task_id)) for task_id in task_ids]
        else:
            pairs = [(task_id, self._meta(result)) for task_id, result in self._kept(task_ids)]
        return {
            task_id: (meta["status"], meta["result"])
            for task_id, meta in pairs
            if meta["status"] in READY_STATES
        }

    def _kept(self, task_ids: Sequence[str]) -> list[tuple[str, Any]]:
        """The result of each task that has one, as it stands in Redis."""
        results = self._backend.mget(list(map(self._result, task_ids))) if task_ids else ()
        pairs = zip(task_ids, results, strict=True)
        return [(task_id, result) for task_id, result in pairs if result is not None]

    def _meta(self, result: Any) -> dict[str, Any]:
        try:
            return cast("dict[str, Any]", self._backend.decode_result(result))
        except UNREADABLE as error:
            return {"status": FAILURE, "result": error}  # Somebody else has written over it.

    def prolong_results(self, task_ids: Iterable[str]) -> None:
        """Let the results of these tasks live on for `result_expires`, if they have an end."""
        results, _ = self.lasting
        self._prolong(dict.fromkeys(map(self._result, task_ids), results))

    def prolong_groups(self, group_ids: Iterable[str]) -> None:
        """Let chords live on: their sizes, what their members returned, the results they hold."""
        results, chords = self.lasting
        group_ids = list(group_ids)
        wanted = {
            self._backend.get_key_for_group(group_id, part): chords
            for group_id in group_ids
            for part in (".j", ".t", ".s", ".d")
        }
        saved = [self._backend.get_key_for_group(group_id) for group_id in group_ids]
        # The last member of a chord joins the results of a saved group.
        longest = max(results, chords) if results and chords else 0
        wanted |= dict.fromkeys(saved, longest)
        for group in self._backend.mget(saved) if saved else ():
            if group is not None:
                members = _members(self._backend.decode(group)["result"])
                wanted |= dict.fromkeys(map(self._result, members), longest)
        self._prolong(wanted)

    def _result(self, task_id: str) -> Any:
        return self._backend.get_key_for_task(task_id)

    def _prolong(self, wanted: Mapping[Any, int]) -> None:
        """Set the end of these keys later. What has none stays so, and none comes sooner."""
        lasting = {key: seconds for key, seconds in wanted.items() if seconds > 0}
        if lasting:
            self._backend.client.eval(_PROLONG, len(lasting), *lasting, *lasting.values())


def _state(read: Callable[[Any], Any], kept: Any) -> str:
    try:
        return str(read(kept))
    except UNREADABLE:
        return OVERWRITTEN


def result_keys(app: Any) -> ResultKeys | None:
    """Where an app keeps its results; None where it keeps none."""
    backend = app.backend
    if isinstance(backend, importlib.import_module("celery.backends.base").DisabledBackend):
        return None
    redis_backend = importlib.import_module("celery.backends.redis").RedisBackend
    return ResultKeys(backend, redis_backend=isinstance(backend, redis_backend))


def _members(result: Any) -> list[str]:
    """The ids of the tasks in a result's tuple, groups in it included."""
    (task_id, _), children = result
    return [task_id] if children is None else [one for child in children for one in _members(child)]
