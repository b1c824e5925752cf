"""Sending many tasks at once: with Celery's own messages, and with few trips to a Redis broker."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "Pile",
    "calls_differ_by_arguments_alone",
    "encoded",
    "piled",
    "piles_up",
    "shown",
    "without_subscriptions",
]

_FILES = frozenset(
    str(importlib.import_module(name).__file__)
    for name in ("celery.app.amqp", "celery.app.base", "celery.app.task", "kombu.messaging")
)
_map_route: Any = importlib.import_module("celery.app.routes").MapRoute
_signals: Any = importlib.import_module("celery.signals")
_saferepr: Any = importlib.import_module("celery.utils.saferepr").saferepr
_dumps: Any = importlib.import_module("kombu.serialization").dumps


class Pile:
    """Messages for a Redis broker, as kombu would push them, until they are sent in one trip.

    It stands where kombu's own batch of a producer would. That one pushes each message by a command
    of its own, and refuses a connection that tries again; what is sent here may come twice, as all
    that Celery's ``task_publish_retry`` sends again may.
    """

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self._pushes: dict[Any, list[str]] = {}
        self._others: dict[tuple[Any, ...], None] = {}
        self.last: tuple[str, str] = ("", "")
        """The key of the list that was last pushed to, and the message."""
        self.size = 0
        """How many characters it holds."""

    def publish(self, channel: Any, message: Any, **where: Any) -> Any:
        """What a producer calls for each message."""
        return channel.basic_publish(message, _publish_batch=self, **where)

    def add(self, name: str, *words: Any) -> None:
        """What a channel calls for each command."""
        if name == "lpush":
            self.push(*words)
        else:
            self._others[name, *words] = None

    def push(self, key: str, message: str) -> None:
        self._pushes.setdefault(key, []).append(message)
        self.last = (key, message)
        self.size += len(message)

    def send(self, retry_policy: dict[str, Any] | None) -> None:
        """Send all of it. With a policy it is tried again, as Celery does with one message."""
        if self._pushes or self._others:
            send = self._send
            if retry_policy is not None:
                send = self._producer.connection.ensure(self._producer, send, **retry_policy)
            with self._producer.connection._reraise_as_library_errors():
                send()
        self._pushes, self._others, self.size = {}, {}, 0

    def _send(self) -> None:
        channel = self._producer.channel
        with channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
            for key, messages in self._pushes.items():
                pipe.lpush(key, *messages)
            for name, *words in self._others:
                getattr(pipe, name)(*words)
            pipe.execute()


def piles_up(producer: Any) -> bool:
    """Whether a producer's broker takes many messages in one trip: a Redis."""
    return bool(getattr(producer.connection.transport.implements, "batch_publish", False))


@contextmanager
def piled(producer: Any) -> Generator[Pile]:
    """What this thread publishes by the producer within it is piled up."""
    local = producer._batch_local
    before = getattr(local, "current", None)
    pile = local.current = Pile(producer)
    try:
        yield pile
    finally:
        local.current = before


def _nothing(*_: Any) -> None:
    pass


@contextmanager
def without_subscriptions(app: Any) -> Generator[None]:
    """Within it, a call does not subscribe to its result: a million channels are too many.

    A result that somebody gets afterwards subscribes then.
    """
    backend = app.backend
    backend.on_task_call = _nothing
    try:
        yield
    finally:
        del backend.on_task_call


def calls_differ_by_arguments_alone(task: Any, producer: Any) -> bool:
    """Whether two calls of a task differ in nothing but their ids and arguments: nobody listens to
    them, routes them by what they say, or has put something in the place of Celery's methods.
    """
    app = task.app
    heard = (_signals.before_task_publish, _signals.after_task_publish, _signals.task_sent)
    ways: list[tuple[Any, str]] = [(task, "apply_async"), (task, "shadow_name")]
    ways += [(app, "send_task"), (app.amqp, "create_task_message"), (producer, "publish")]
    return (
        not any(signal.receivers for signal in heard)
        and not app.conf.task_send_sent_event
        and all(isinstance(route, _map_route) for route in app.amqp.routes)
        and all(_is_their_own(getattr(owner, name)) for owner, name in ways)
    )


def _is_their_own(method: Any) -> bool:
    """Whoever wraps a method has it in a file of theirs, or leaves ``__wrapped__`` on it."""
    code = getattr(method, "__code__", None)
    return code is not None and code.co_filename in _FILES and not hasattr(method, "__wrapped__")


def encoded(channel: Any, body: Any, serializer: str) -> tuple[str, str]:
    """The body of a message, as a channel writes it, and its content type."""
    content_type, _, data = _dumps(body, serializer=serializer)
    return channel.encode_body(data, channel.body_encoding)[0], content_type


def shown(values: Any, most: int) -> str:
    """Arguments as Celery's events and logs show them."""
    return str(_saferepr(values, most))
