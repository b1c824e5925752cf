"""What Batchq uses of Celery, kombu and httpx that none promises to keep, all in one place.

tests/test_seams.py holds each of them against the installed release.
"""

from __future__ import annotations

import copy
import functools
import importlib
import signal
import types
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from celery.states import PENDING
from kombu.exceptions import ContentDisallowed, DecodeError

__all__ = [
    "SOFT_LIMIT_SIGNAL",
    "UNREADABLE",
    "ResultKeys",
    "active_apps",
    "add_queue",
    "annotated",
    "as_current_task",
    "backend_parameters",
    "broker_parameters",
    "context_of",
    "current_request",
    "decoded",
    "delays_whole_seconds",
    "follows_default",
    "ignores_result",
    "intercept_revokes",
    "is_empty",
    "listed",
    "pending_tasks",
    "queue_of_task",
    "rank_state",
    "registered_tasks",
    "result_keys",
    "serializer_of",
    "store_errors_by",
    "takes_remote_control",
    "task_from_function",
    "task_stack",
    "unrouted",
    "without_connections",
]

UNREADABLE = (
    *(DecodeError, ContentDisallowed),
    *(ValueError, LookupError, TypeError, AttributeError),
)
"""What Celery raises of a result that somebody else has written over."""

_annotations: Any = importlib.import_module("celery.app.annotations")
_state: Any = importlib.import_module("celery._state")
_states: Any = importlib.import_module("celery.states")
_task: Any = importlib.import_module("celery.app.task")
_quorum: Any = importlib.import_module("celery.utils.quorum_queues")
_routes: Any = importlib.import_module("celery.app.routes")
_trace: Any = importlib.import_module("celery.app.trace")
_ensure_serializable: Any = importlib.import_module(
    "celery.utils.serialization"
).ensure_serializable
_serialization: Any = importlib.import_module("kombu.serialization")

SOFT_LIMIT_SIGNAL: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""With it a worker tells a process of its pool that a soft time limit is met."""


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


def ignores_result(task: Any) -> bool:
    """Whether the current run of ``task`` stores no result, by the task or by the call."""
    return bool(_trace.get_actual_ignore_result(task, task.request))


def serializer_of(content_type: str | None) -> str | None:
    """The name under which kombu knows the serializer of a content type."""
    return cast("str | None", _serialization.registry.type_to_name.get(content_type or ""))


def rank_state(state: str, *, after: str) -> None:
    """Say where a state of our own stands among Celery's, for those who see events in any order.

    Flower shows the highest state it has heard of. One that Celery does not know is above REVOKED.
    """
    _states.PRECEDENCE_LOOKUP[state] = _states.PRECEDENCE_LOOKUP[after] + 0.5


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
        # From Celery 5.7 on, a queue that is only added is for routing and no worker takes it.
        told = queues._consume_from is not None
        add = queues.add if told else queues.select_add
        add(queues.new_missing(name))


def annotated(task: Any) -> set[str]:
    """The options of a task that the app's ``task_annotations`` have set."""
    found = _annotations.resolve_all(task.app.annotations, task)
    return {name for options in found for name in options}


def queue_of_task(app: Any, task: Any) -> str:
    """The queue that the app sends a task to; empty where that is decided for each call."""
    own = getattr(task, "queue", None)
    try:
        route = app.amqp.router.route({"queue": own} if own else {}, task.name, task_type=task)
    except Exception:  # noqa: BLE001 routes are the app's own code, and may want arguments
        return ""
    return "" if route.get("exchange") else str(route["queue"].name)


def unrouted(app: Any) -> Any:
    """A router that knows the app's queues, and none of its routes."""
    return _routes.Router(queues=app.amqp.queues, app=app)


def takes_remote_control(app: Any) -> bool:
    """Whether the app's broker can send one message to all workers."""
    with app.connection_for_write() as connection:
        return bool(connection.supports_exchange_type("fanout"))


def delays_whole_seconds(app: Any) -> bool:
    """Whether Celery refuses a countdown of less than a second, as it does on quorum queues."""
    driver: str = app.producer_pool.connections.connection.transport.driver_type
    return bool(_quorum.detect_quorum_queues(app, driver)[0])


def is_empty(app: Any, queue: str) -> bool:
    """Whether no message waits in a queue. Those that workers hold already do not count."""
    with app.connection_for_read() as connection:
        try:
            found = connection.default_channel.queue_declare(queue, passive=True)
        except connection.channel_errors:
            # A Redis broker has no such queue where it is empty.
            return True
        return bool(found.message_count == 0)


def decoded(app: Any, body: str | bytes, content_type: str, encoding: str) -> Any:
    """The body of a message, where the app takes its content type."""
    accept = _serialization.prepare_accept_content(app.conf.accept_content)
    return _serialization.loads(body, content_type, encoding, accept=accept)


def context_of(fields: Mapping[str, Any]) -> Any:
    """A task's request, as Celery's worker makes it of a message."""
    return _task.Context(fields)


Commanded = Callable[[Any, set[str], str], set[str]]
CommandedByStamps = Callable[[Any, Mapping[str, list[str]], str], None]


def intercept_revokes(by_id: Commanded, by_stamps: CommandedByStamps) -> None:
    """Let a worker's main process ask first, when it is told to revoke.

    ``by_id`` gets the app, the ids and the worker's name, and returns the ids that Celery is to
    leave alone; ``by_stamps`` is called beside Celery's own command.
    """
    control: Any = importlib.import_module("celery.worker.control")
    celerys, celerys_by_stamps = control._revoke, control.Panel.data["revoke_by_stamped_headers"]
    if hasattr(celerys, "__wrapped__"):
        return

    @functools.wraps(celerys)
    def revoke(state: Any, task_ids: Any, *how: Any, **more: Any) -> Any:
        taken = by_id(state.app, set(task_ids), state.hostname)
        reply: Any = celerys(state, set(task_ids) - taken, *how, **more)
        # A dict is the answer to a terminate.
        return cast("Any", reply) if isinstance(reply, dict) else {*reply, *taken}

    @functools.wraps(celerys_by_stamps)
    def revoke_by_stamped_headers(state: Any, headers: Any, *args: Any, **kwargs: Any) -> Any:
        reply = celerys_by_stamps(state, headers, *args, **kwargs)
        if isinstance(headers, list):
            pairs: Any = cast("Any", headers)
            headers = {str(p).partition("=")[0]: str(p).partition("=")[2] for p in pairs}
        stamps = {name: listed(values) for name, values in headers.items()}
        by_stamps(state.app, stamps, state.hostname)
        return reply

    control._revoke = revoke
    control.Panel.data["revoke_by_stamped_headers"] = revoke_by_stamped_headers


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


def listed(values: Any) -> list[Any]:
    """Celery takes one, several or None in many places."""
    if values is None:
        return []
    several = isinstance(values, (list, tuple, set, frozenset))
    return list(cast("Iterable[Any]", values)) if several else [values]


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
            return {task_id: self._backend.get_state(task_id) for task_id in task_ids}
        keys = list(map(self._result, task_ids))
        results: list[Any] = self._backend.mget(keys) if keys else []
        return {
            task_id: self._state_in(result)
            for task_id, result in zip(task_ids, results, strict=True)
            if result is not None
        }

    def _state_in(self, result: Any) -> str:
        try:
            return str(self._backend.decode(result)["status"])
        except UNREADABLE:
            return PENDING  # Somebody else has written over it.

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
        keys = [key for key, seconds in wanted.items() if seconds > 0]
        with self._backend.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.pttl(key)
            left = pipe.execute()
            for key, milliseconds in zip(keys, left, strict=True):
                if 0 < milliseconds < wanted[key] * 1000:
                    pipe.expire(key, wanted[key])
            pipe.execute()


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


def backend_parameters(app: Any, url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """With what Celery's result backend for a Redis URL connects (as redis-py takes it), and its
    transport options. Nothing is connected.
    """
    backends = importlib.import_module("celery.app.backends")
    kind, url = backends.by_url(url, app.loader)
    parameters = dict(kind(app=app, url=url).connparams)
    options = dict(app.conf.result_backend_transport_options or {})
    return parameters, options


def broker_parameters(app: Any, url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """With what kombu connects to a broker that is a Redis, and its transport options. Nothing is
    connected.
    """
    connection = app.connection_for_write(url)
    options = dict(connection.transport_options)
    transport = connection.get_transport_cls()
    # As its own __init__ would, but for the connection that is made there.
    channel = object.__new__(transport.Channel)
    channel.connection = types.SimpleNamespace(
        client=connection, default_port=transport.default_port
    )
    for name in transport.Channel.from_transport_options:
        # Of its own defaults (10 connections, say) none is meant for us.
        setattr(channel, name, options.get(name))
    return dict(channel._connparams()), options


def follows_default(app: Any, setting: str) -> bool:
    """Whether a setting of Celery has the value it has where nobody says anything."""
    defaults = importlib.import_module("celery.app.defaults").DEFAULTS
    return bool(app.conf.get(setting) == defaults.get(setting))


def without_connections(transport: Any) -> Any:
    """A transport of httpx as this one is, with none of its connections."""
    pool = copy.copy(transport._pool)
    pool._connections, pool._requests = [], []
    fresh = copy.copy(transport)
    fresh._pool = pool
    return fresh
