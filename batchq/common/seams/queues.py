"""Queues: which a task is sent to, and what a broker can do with them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "add_queue",
    "delays_whole_seconds",
    "is_empty",
    "messages_in",
    "queue_of_task",
    "takes_remote_control",
    "unrouted",
]

_quorum: Any = importlib.import_module("celery.utils.quorum_queues")
_routes: Any = importlib.import_module("celery.app.routes")


def add_queue(app: Any, name: str) -> None:
    """Let an app know one more queue: a worker that was not told (-Q) which to consume takes it."""
    queues = app.amqp.queues
    if name not in queues:
        # From Celery 5.7 on, a queue that is only added is for routing and no worker takes it.
        told = queues._consume_from is not None
        add = queues.add if told else queues.select_add
        add(queues.new_missing(name))


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
    return messages_in(app, [queue]) == 0


def messages_in(app: Any, names: Iterable[str]) -> int:
    """How many messages wait in these queues. Those that workers hold already do not count."""
    with app.connection_for_read() as connection:
        return sum(_messages_in(connection, name) for name in names)


def _messages_in(connection: Any, queue: str) -> int:
    try:
        # A channel each: AMQP closes one that asks for a queue that is not there.
        with connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        # A Redis broker has no such queue where it is empty.
        return 0
