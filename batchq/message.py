"""A task's own message, kept so that the task can be delivered again exactly as it came."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, cast

from celery import signals
from kombu.serialization import dumps as serialize
from kombu.utils import json

from batchq.seams import serializer_of

__all__ = ["message_of", "publish"]

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


def publish(app: Any, messages: Iterable[bytes]) -> None:
    """Send kept messages on, verbatim and pipelined, through Celery's own routes."""
    with app.producer_or_acquire() as producer, producer.batch(500):
        for message in messages:
            _publish(app, producer, json.loads(message))


def _publish(app: Any, producer: Any, message: dict[str, Any]) -> None:
    body = base64.b64decode(message["body"]) if message["binary"] else message["body"]
    # The default exchange routes by queue name, and that queue may not be declared yet.
    queue = message["routing_key"] if message["exchange"] == "" else None
    declare = [app.amqp.queues[queue]] if queue and queue in app.amqp.queues else None
    producer.publish(
        body,
        exchange=message["exchange"],
        routing_key=message["routing_key"],
        headers=message["headers"],
        content_type=message["content_type"],
        content_encoding=message["content_encoding"],
        compression=message["compression"],
        declare=declare,
        retry=True,
        retry_policy=app.conf.task_publish_retry_policy,
        **{name: value for name, value in message["properties"].items() if value is not None},
    )
