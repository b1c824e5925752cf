"""A task's own message, kept so that the task can be delivered again exactly as it came."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable
from typing import Any, cast

from celery import signals
from kombu.exceptions import KombuError, OperationalError
from kombu.serialization import dumps as serialize
from kombu.utils import json
from redis.exceptions import ResponseError

from batchq.errors import JournalUnreadable
from batchq.journal import is_rubbish
from batchq.seams import context_of, decoded, serializer_of

__all__ = ["message_of", "publish", "queue_of", "request_of"]

logger = logging.getLogger("batchq.message")

_HEADERS = (
    "lang task id shadow eta expires group group_index retries timelimit root_id parent_id "
    "argsrepr kwargsrepr origin ignore_result replaced_task_nesting stamped_headers stamps"
).split()
"""The headers of Celery's message protocol 2 (celery.app.amqp); all others are the user's own."""

_CONTENT_TYPE = "batchq_content_type"


@signals.task_received.connect(weak=False)
def _remember_content_type(request: Any = None, **_: Any) -> None:
    # Only the process that received the message sees how its body was serialized.
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
    headers.pop("compression", None)
    message: dict[str, Any] = {
        "body": body if isinstance(body, str) else base64.b64encode(body).decode(),
        "binary": isinstance(body, bytes),
        "headers": headers,
        "content_type": content_type,
        "content_encoding": encoding,
        "exchange": delivery.get("exchange") or "",
        "routing_key": delivery.get("routing_key"),
        "compression": request.get("compression"),
        "properties": {
            "correlation_id": properties.get("correlation_id"),
            "reply_to": properties.get("reply_to"),
            "delivery_mode": properties.get("delivery_mode"),
            "priority": delivery.get("priority"),
        },
    }
    return json.dumps(message).encode()


def publish(app: Any, messages: Iterable[bytes]) -> list[int]:
    """Send kept messages on, verbatim and pipelined, through Celery's own routes.

    Returns the places of those that cannot be sent: rubbish, or for a queue whose key is no queue.
    """
    read = [(at, _read(message)) for at, message in enumerate(messages)]
    good = [(at, message) for at, message in read if message is not None]
    bad = [at for at, message in read if message is None]
    try:
        with app.producer_or_acquire() as producer, producer.batch(500):
            for _, message in good:
                _publish(app, producer, message)
    except KombuError as error:
        if not (isinstance(error.__cause__, ResponseError) and is_rubbish(error.__cause__)):
            raise
        # One queue is broken, and nobody can tell which messages went out. A second delivery ends
        # at its claim.
        return sorted([*bad, *_publish_one_by_one(app, good)])
    return bad


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


def _publish_one_by_one(app: Any, messages: Iterable[tuple[int, dict[str, Any]]]) -> list[int]:
    refused: list[int] = []
    for at, message in messages:
        try:
            with app.producer_or_acquire() as producer:
                _publish(app, producer, message)
        except OperationalError as error:
            if not (isinstance(error.__cause__, ResponseError) and is_rubbish(error.__cause__)):
                raise
            logger.error(  # noqa: TRY400 the words say it all
                "the queue %s takes no message: %s",
                *(message["routing_key"], error),
                extra={"action": "resume", "task_id": message["headers"]["id"]},
            )
            refused.append(at)
    return refused


def _read(kept: bytes) -> dict[str, Any] | None:
    """A kept message with its body as it was; None where it is none of ours."""
    try:
        message = json.loads(kept)
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
            "a kept message is not what Batchq wrote, and is not sent",
            extra={"action": "leave-out"},
        )
    return known if ours else None


_KEPT = (
    "headers content_type content_encoding exchange routing_key compression properties"
).split()


def _publish(app: Any, producer: Any, message: dict[str, Any]) -> None:
    producer.publish(
        message["body"],
        exchange=message["exchange"],
        routing_key=message["routing_key"],
        headers=message["headers"],
        content_type=message["content_type"],
        content_encoding=message["content_encoding"],
        compression=message["compression"],
        declare=_to_declare(app, message["exchange"], message["routing_key"]),
        retry=True,
        retry_policy=app.conf.task_publish_retry_policy,
        # To kombu, none given is a priority of 0.
        **{"priority": None}
        | {name: value for name, value in message["properties"].items() if value is not None},
    )


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
