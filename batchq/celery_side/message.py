"""A task's own message, kept so that the task can be delivered again exactly as it came."""

from __future__ import annotations

import base64
import json as plain
import logging
import re
from collections.abc import Iterable
from typing import Any, cast

from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import OperationalError
from kombu.serialization import dumps as serialize
from kombu.utils import json
from redis.exceptions import RedisError, ResponseError

from batchq.common.seams.messages import decoded, serializer_of
from batchq.common.seams.tasks import context_of
from batchq.errors import JournalUnreadable
from batchq.journal import is_rubbish

__all__ = ["message_of", "publish", "queue_of", "remember_content_type", "request_of"]

logger = logging.getLogger("batchq.message")

_HEADERS = (
    "lang task id shadow eta expires group group_index retries timelimit root_id parent_id "
    "argsrepr kwargsrepr origin ignore_result replaced_task_nesting stamped_headers stamps"
).split()
"""The headers of Celery's message protocol 2 (celery.app.amqp); all others are the user's own."""

_CONTENT_TYPE = "batchq_content_type"

_OF_DELIVERY = frozenset(
    # Kombu's, of one delivery and of how its body was written.
    "body_encoding delivery_info delivery_tag "
    # Told apart, and written again.
    f"application_headers content_encoding content_type priority {_CONTENT_TYPE} "
    # It was met when the message came. Not to drop what has been paid for, should a queue be long.
    "expiration".split()
)
"""The properties of a message that are not the message's own, or not any more."""

_is_of_delivery = re.compile(
    # RabbitMQ's, of the way a message came.
    r"x-death|x-(first|last)-death-.*|x-(delivery|acquired)-count|x-stream-offset|x-received-from"
    # By which its plugin would hold it up once more.
    r"|x-delay"
    # Kombu's: it is told apart, and written again.
    r"|compression"
).fullmatch
"""The headers likewise."""


def remember_content_type(request: Any = None, **_: Any) -> None:
    """A message is received. Only this process sees how its body was serialized."""
    details = request.request_dict
    details["properties"] = {
        **(details.get("properties") or {}),
        _CONTENT_TYPE: request.message.content_type,
    }


def message_of(task: Any) -> bytes:
    """The message that started the current run of ``task``. Call it before the body runs: bodies
    change their arguments.

    ``eta`` and ``expires`` are left out: they have been met, and must not hold up or drop the task
    when it comes again.
    """
    request: dict[str, Any] = task.request.__dict__
    properties: dict[str, Any] = request.get("properties") or {}
    delivery: dict[str, Any] = request.get("delivery_info") or {}
    serializer = serializer_of(properties.get(_CONTENT_TYPE))
    embedded = {name: request.get(name) for name in ("callbacks", "errbacks", "chain", "chord")}
    content_type, encoding, body = cast(
        "tuple[str, str, str | bytes]",
        serialize(
            (request["args"], request["kwargs"], embedded),
            serializer or task.serializer or task.app.conf.task_serializer,
        ),
    )
    headers = {name: request[name] for name in _HEADERS if name in request}
    headers |= {**(request.get("headers") or {}), "eta": None, "expires": None}
    headers = {name: value for name, value in headers.items() if not _is_of_delivery(name)}
    exchange, routing_key = _without_delay(delivery)
    kept = {name: value for name, value in properties.items() if name not in _OF_DELIVERY}
    message: dict[str, Any] = {
        "body": body if isinstance(body, str) else base64.b64encode(body).decode(),
        "binary": isinstance(body, bytes),
        "headers": headers,
        "content_type": content_type,
        "content_encoding": encoding,
        "exchange": exchange,
        "routing_key": routing_key,
        "compression": request.get("compression"),
        "properties": {**kept, "priority": delivery.get("priority")},
    }
    return json.dumps(message).encode()


def _without_delay(delivery: dict[str, Any]) -> tuple[str, str | None]:
    """Where a message came from: the exchange and key, the way through Celery's delays left out.

    What waited in them (RabbitMQ, quorum queues) has come to its queue by the last exchange of
    that way, which knows the queue by the task's own key.
    """
    exchange, routing_key = delivery.get("exchange") or "", delivery.get("routing_key")
    delayed = _DELAYS.match(exchange)
    if delayed is None or routing_key is None:
        return exchange, routing_key
    return f"{delayed[1]}delivery", _DELAY.sub("", routing_key, count=1)


_DELAYS = re.compile(r"((?:.*_)?celery_delayed_)(?:\d+|delivery)\Z")
_DELAY = re.compile(r"\A(?:[01]\.){28}")
"""Seconds in binary, as kombu.transport.native_delayed_delivery writes them before a key."""


def publish(app: Any, messages: Iterable[bytes]) -> dict[int, Exception | None]:
    """Send kept messages on, verbatim and pipelined, through Celery's own routes.

    Returns the places of those that cannot be sent, with the error that would be raised at each
    try; None for rubbish, or for a queue whose key is no queue.
    """
    read = [(at, _read(message)) for at, message in enumerate(messages)]
    good = [(at, message) for at, message in read if message is not None]
    bad: dict[int, Exception | None] = {at: None for at, message in read if message is None}
    try:
        with app.producer_or_acquire() as producer, producer.batch(500):
            way = _Way(app, producer)
            for _, message in good:
                way.publish(message)
    except Exception as error:
        if not _is_one_s(error):
            raise
        # One queue or message is broken, and nobody can tell which went out. A second delivery ends
        # at its claim.
        return bad | _publish_one_by_one(app, good)
    return bad


def _is_one_s(error: Exception) -> bool:
    """True where an error is that of one message, or of its queue."""
    if isinstance(error, OperationalError):
        return isinstance(error.__cause__, ResponseError) and is_rubbish(error.__cause__)
    return not isinstance(error, RedisError | OSError | MemoryError | SoftTimeLimitExceeded)


def request_of(app: Any, kept: bytes, *, hostname: str | None = None) -> Any:
    """The request of a kept message, as a worker has it when the message is delivered."""
    message = _read(kept)
    if message is None:
        raise JournalUnreadable("a kept message")
    body = message["body"], message["content_type"], message["content_encoding"]
    args, kwargs, embedded = decoded(app, *body)
    properties: dict[str, Any] = message["properties"]
    delivery = {
        "exchange": message["exchange"],
        "routing_key": message["routing_key"],
        "priority": properties.get("priority"),
    }
    known = {"args": args, "kwargs": kwargs, "hostname": hostname, "delivery_info": delivery}
    known |= {"properties": properties}
    known |= {name: properties.get(name) for name in ("reply_to", "correlation_id")}
    return context_of({**message["headers"], **embedded, **known})


def queue_of(kept: bytes) -> str | None:
    """The queue of a kept message; None where an exchange decides, or it cannot be read."""
    message = _read(kept)
    if message is None or message["exchange"] != "":
        return None
    return cast("str | None", message["routing_key"]) or None


def _publish_one_by_one(
    app: Any, messages: Iterable[tuple[int, dict[str, Any]]]
) -> dict[int, Exception | None]:
    refused: dict[int, Exception | None] = {}
    for at, message in messages:
        try:
            with app.producer_or_acquire() as producer:
                _Way(app, producer).publish(message)
        except Exception as error:
            if not _is_one_s(error):
                raise
            logger.error(  # noqa: TRY400 the words say it all
                "task %s is not sent on, for the queue %s does not take its message (%s: %s)",
                *(message["headers"]["id"], message["routing_key"], type(error).__name__, error),
                extra={"action": "resume", "task_id": message["headers"]["id"]},
            )
            refused[at] = None if isinstance(error, OperationalError) else error
    return refused


def _read(kept: bytes) -> dict[str, Any] | None:
    """A kept message with its body as it was; None where it is none of ours."""
    try:
        # What kombu has marked nothing in is read at half the price.
        message = (json if b'"__type__"' in kept else plain).loads(kept)
        body = message["body"]
        known = {name: message[name] for name in _KEPT}
        known["body"] = base64.b64decode(body) if message["binary"] else body
        named = all(isinstance(message["headers"][name], str) for name in ("id", "task"))
        # What is not text here would be refused only in the middle of the others.
        ours = named and isinstance(body, str) and isinstance(message["properties"], dict)
    except (ValueError, LookupError, TypeError, RecursionError):
        ours, known = False, {}
    if not ours:
        logger.error(
            "a task's kept message in Redis is not what Batchq wrote, and is not sent; look for "
            "who else writes to that Redis",
            extra={"action": "skip"},
        )
    return known if ours else None


_KEPT = (
    "headers content_type content_encoding exchange routing_key compression properties"
).split()


class _Way:
    """How messages leave by a producer: what is the same for each of them is looked up once."""

    def __init__(self, app: Any, producer: Any) -> None:
        self._app = app
        self._producer = producer
        self._policy = app.conf.task_publish_retry_policy
        self._batched: bool = producer.supports_batch_publish
        self._amqp: bool = producer.connection.transport.driver_type == "amqp"
        self._declared: set[tuple[str, str | None]] = set()

    def publish(self, message: dict[str, Any]) -> None:
        where = message["exchange"], message["routing_key"]
        first = where not in self._declared
        self._producer.publish(
            message["body"],
            exchange=where[0],
            routing_key=where[1],
            headers=message["headers"],
            content_type=message["content_type"],
            content_encoding=message["content_encoding"],
            compression=message["compression"],
            declare=_to_declare(self._app, *where) if first else None,
            # What only waits, to be sent with the others, does not fail by itself.
            retry=first or not self._batched,
            retry_policy=self._policy,
            # To kombu, none given is a priority of 0.
            **{"priority": None} | self._sendable(message["properties"]),
        )
        self._declared.add(where)

    def _sendable(self, properties: dict[str, Any]) -> dict[str, Any]:
        """The properties that may be sent by this connection: AMQP takes no other user's name."""
        sendable = {name: value for name, value in properties.items() if value is not None}
        if self._amqp and sendable.get("user_id") != self._producer.connection.info()["userid"]:
            sendable.pop("user_id", None)
        return sendable


def _to_declare(app: Any, exchange: str, routing_key: str | None) -> list[Any] | None:
    """What must be known where a message is published, or it may end nowhere."""
    if exchange == "":
        # The default exchange routes by queue name, and that queue may not be declared yet.
        queue = app.amqp.queues.get(routing_key)
        return None if queue is None else [queue]
    # On Redis each process knows only the exchanges it has declared; it takes any other for a
    # direct one, to which the routing keys of a topic exchange mean nothing.
    exchanges = [queue.exchange for queue in app.amqp.queues.values() if queue.exchange is not None]
    return [found for found in exchanges if found.name == exchange][:1] or None
