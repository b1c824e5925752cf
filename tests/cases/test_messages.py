"""A task's message is sent again as it came, property by property.

`apply_async(app_id=...)` was gone after the wait, with whatever else of AMQP nobody had listed. And
what was only of the first delivery came along: after a countdown on a quorum queue of RabbitMQ the
message was sent with the key, and the marks, of the queues that had held it up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from celery.worker.request import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu.transport.native_delayed_delivery import calculate_routing_key
from openai import OpenAI

from batchq.celery_side.message import message_of, publish, request_of
from tests.capture.bench import Bench, ask

client = OpenAI()

PROPERTIES: dict[str, Any] = {
    "app_id": "shop",
    "cluster_id": "one",
    "correlation_id": "another",
    "delivery_mode": 1,
    "message_id": "a message",
    "priority": 3,
    "reply_to": "somewhere",
    "timestamp": datetime(2026, 5, 17, tzinfo=UTC),
    "type": "a type",
    "user_id": "somebody",
    "of_our_own": {"a list": [1, 2.5, None], "bytes": b"\x00\xff", "id": UUID(int=7)},
}


def test_what_was_given_with_a_call_is_there_in_every_run(bench: Bench) -> None:
    """Celery's own suite looks for `app_id`."""
    seen: list[dict[str, Any]] = []

    @bench.task(bind=True, name="looks")
    def looks(self: Any, text: str) -> str:
        seen.append({**self.request.properties, "priority": self.request.delivery_info["priority"]})
        first = ask(client, text)
        return ask(client, f"more: {first}")

    sent = bench.send(looks, "a text", **PROPERTIES)
    bench.deliver()
    for _ in range(2):
        bench.answer()
        bench.deliver()
    assert sent.state == "SUCCESS"
    own = {"batchq_content_type", "body_encoding", "delivery_info", "delivery_tag"}
    given = [{name: run[name] for name in run.keys() - own} for run in seen]
    assert given == [PROPERTIES] * 3


# Whatever it is


@pytest.fixture(scope="module")
def memory() -> Iterator[Celery[Any]]:
    app: Celery[Any] = Celery("memory", broker="memory://", set_as_current=False)
    app.conf.update(task_serializer="json", accept_content=["json", "pickle", "yaml"])

    @app.task(name="messages.any", shared=False)
    def any_task(*args: Any, **kwargs: Any) -> None: ...

    app.finalize()
    yield app
    app.close()


def sent_and_sent_again(app: Celery[Any], *args: Any, **options: Any) -> tuple[Any, Any]:
    """The message as it was delivered, and as it is once it was kept and published."""
    task: Any = app.tasks["messages.any"]
    task.apply_async(args, **options)
    first = the_message(app)
    assert publish(app, [kept(task, first)]) == {}
    return first, the_message(app)


def the_message(app: Celery[Any]) -> Any:
    with app.connection_for_read() as connection:
        queue: Any = app.amqp.queues["celery"](connection.default_channel)
        queue.declare()
        message = queue.get(no_ack=True, accept=["json", "pickle", "yaml"])
        assert queue.get() is None
        return message


def kept(task: Any, message: Any) -> bytes:
    """What is kept of a message by the run that it starts."""
    request = Request(message, app=task.app, hostname="any")
    request.request_dict["properties"]["batchq_content_type"] = message.content_type
    task.push_request(**request.request_dict, called_directly=False)
    try:
        return message_of(task)
    finally:
        task.pop_request()


def as_given(message: Any) -> dict[str, Any]:
    """All of a message but what each delivery has of its own."""
    properties = dict(message.properties)
    for own in ("delivery_tag", "batchq_content_type", "expiration"):
        properties.pop(own, None)
    headers = {**message.headers, "eta": None, "expires": None}
    body = message.decode()
    return {"properties": properties, "headers": headers, "body": body, "as": message.content_type}


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=9)
    | st.binary(max_size=9)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.datetimes(timezones=st.just(UTC))
    | st.uuids()
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=5,
)
_AMQP = st.fixed_dictionaries(
    {},
    optional={
        name: st.text(max_size=9)
        for name in "app_id cluster_id correlation_id message_id reply_to type user_id".split()
    }
    | {
        "delivery_mode": st.sampled_from([1, 2]),
        "expiration": st.floats(1, 1e6),
        "priority": st.integers(0, 9),
        "timestamp": st.integers(0, 2**40) | st.datetimes(timezones=st.just(UTC)),
    },
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    properties=_AMQP,
    own=st.dictionaries(st.sampled_from(["mine", "x-mine", "compress"]), _VALUES),
    headers=st.dictionaries(st.sampled_from(["tenant", "x-request-id", "x-deaths"]), _VALUES),
    options=st.fixed_dictionaries(
        {},
        optional={
            "compression": st.sampled_from(["gzip", "bzip2"]),
            "serializer": st.sampled_from(["json", "yaml", "pickle"]),
        },
    ),
)
def test_any_message_is_sent_again_as_it_came(
    memory: Celery[Any],
    properties: dict[str, Any],
    own: dict[str, Any],
    headers: dict[str, Any],
    options: dict[str, Any],
) -> None:
    own = {name: value for name, value in own.items() if value is not None}
    first, again = sent_and_sent_again(
        memory, "a", 1, **properties, **own, **options, headers=headers
    )
    assert as_given(again) == as_given(first)
    assert first.properties.items() >= own.items()
    assert again.delivery_info == first.delivery_info
    assert "expiration" not in again.properties, "it was met once"


MARKS = {
    "x-death": [{"queue": "celery_delayed_1", "reason": "expired", "count": 1}],
    "x-first-death-exchange": "celery_delayed_27",
    "x-first-death-queue": "celery_delayed_1",
    "x-first-death-reason": "expired",
    "x-last-death-exchange": "celery_delayed_1",
    "x-last-death-queue": "celery_delayed_0",
    "x-last-death-reason": "expired",
    "x-delivery-count": 2,
    "x-delay": 5000,
}


def test_the_marks_of_a_delivery_are_not_sent_again(memory: Celery[Any]) -> None:
    _, again = sent_and_sent_again(memory, headers={**MARKS, "x-request-id": "mine"})
    assert "x-request-id" in again.headers
    assert not MARKS.keys() & again.headers.keys()


@pytest.mark.parametrize("countdown", [1, 2, 90, 2**28 - 1])
@pytest.mark.parametrize("prefix", ["", "my_"])
@pytest.mark.parametrize("last", ["delayed_delivery", "delayed_0", "delayed_27"])
def test_the_way_through_a_delay_is_not_taken_again(
    memory: Celery[Any], countdown: int, prefix: str, last: str
) -> None:
    delayed = calculate_routing_key(countdown, "0.1.orders.new")
    message = from_rabbitmq(memory, f"{prefix}celery_{last}", delayed)
    assert message["routing_key"] == "0.1.orders.new"
    assert message["exchange"] == f"{prefix}celery_delayed_delivery"


@pytest.mark.parametrize(
    "exchange", ["", "orders", "celery_delayed", "my_celery_delayed_delivery_2"]
)
def test_any_other_way_is(memory: Celery[Any], exchange: str) -> None:
    key = calculate_routing_key(3, "orders.new")
    message = from_rabbitmq(memory, exchange, key)
    assert (message["exchange"], message["routing_key"]) == (exchange, key)


def from_rabbitmq(app: Celery[Any], exchange: str, routing_key: str) -> dict[str, Any]:
    """What is kept of a message that came by this exchange."""
    task: Any = app.tasks["messages.any"]
    task.apply_async(("text",))
    message = the_message(app)
    message.delivery_info |= {"exchange": exchange, "routing_key": routing_key}
    made: dict[str, Any] = json.loads(kept(task, message))
    return made


def test_a_kept_message_is_read_as_a_request(memory: Celery[Any]) -> None:
    task: Any = memory.tasks["messages.any"]
    task.apply_async(("text",), **PROPERTIES, amount=Decimal("1.5"))
    request = request_of(memory, kept(task, the_message(memory)))
    assert request.properties.items() >= PROPERTIES.items()
    assert request.properties["amount"] == Decimal("1.5")
