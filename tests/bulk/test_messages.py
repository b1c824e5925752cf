"""What `enqueue` sends is what `apply_async` sends, to the byte."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery, Task, signals
from hypothesis import given
from hypothesis import strategies as st

import batchq
from batchq.bulk.calls import fresh_ids, id_of_key
from batchq.bulk.template import _shown
from batchq.common.seams.publishing import shown
from tests.apps.base import make_app
from tests.harness import Server

ROWS = [("row", number, None) for number in range(20)]
WHEN = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def app(server: Server, nobody_listens: None) -> Iterator[Celery[Any]]:
    app = make_app("messages")
    app.conf.task_routes = {"routed": {"queue": "other", "priority": 6}}
    yield app
    closing: Any = app
    closing.close()


def a_task(app: Celery[Any], name: str = "say", **options: Any) -> Any:
    def body(*args: Any, **kwargs: Any) -> None: ...

    make: Any = app.task
    return make(name=name, shared=False, **options)(batchq.batched_llm_task(body))


def taken(server: Server) -> list[str]:
    """All messages of all queues, the oldest first, and none is left."""
    client: Any = server.client
    queues = [key for key in sorted(client.keys("*")) if client.type(key) == "list"]
    found = [f"{key} {one}" for key in queues for one in client.lrange(key, 0, -1)[::-1]]
    client.delete(*queues)
    return found


def alike(message: str) -> str:
    """A message without what differs in any two: its delivery tag, the milliseconds to its end."""
    return re.sub(r'"delivery_tag": "[0-9a-f-]{36}"|"expiration": "\d+"', "", message)


OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "priority and queue": {"priority": 3, "queue": "mine"},
    "headers": {"headers": {"tenant": "100 %(id)s", "batchq": "live"}},
    "an end": {"expires": WHEN},
    "a beginning": {"eta": WHEN},
    "time limits": {"time_limit": 7, "soft_time_limit": 3},
    "no result": {"ignore_result": True},
    "another name": {"shadow": "o'hara"},
    "compressed": {"compression": "zlib"},
    "pickled": {"serializer": "pickle"},
    "hidden arguments": {"argsrepr": "(…)", "kwargsrepr": "{…}"},
    "its own properties": {"reply_to": "somebody", "group_id": "g", "root_id": "r"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_a_message_is_that_of_apply_async(
    app: Celery[Any], server: Server, options: dict[str, Any]
) -> None:
    task = a_task(app)
    ids = list(task.enqueue(ROWS, **options).task_ids)
    sent = taken(server)
    for row, task_id in zip(ROWS, ids, strict=True):
        task.apply_async(row, task_id=task_id, **options)
    assert list(map(alike, sent)) == list(map(alike, taken(server)))
    tags = re.findall(r'"delivery_tag": "([^"]+)"', " ".join(sent))
    assert len(set(tags)) == len(ROWS)


VALUES: list[Any] = [
    *("text", "quote ' and \" and \\ and \n", "ünïcode 🐳", "%s %(id)s", "x" * 3000, ""),
    *(1, -1, 1.5, 1e300, True, None, [1, [2, [3, [4]]]], {"a": {"b": 1}}, (1, 2)),
    *(WHEN, Decimal("1.10"), b"bytes"),
]


def test_arguments_of_any_kind_are_written_as_celery_writes_them(
    app: Celery[Any], server: Server
) -> None:
    task = a_task(app, "routed")
    signatures = [task.s(value, "and", named=value) for value in VALUES]
    ids = list(batchq.enqueue(signatures).task_ids)
    sent = taken(server)
    for signature, task_id in zip(signatures, ids, strict=True):
        signature.apply_async(task_id=task_id)
    assert list(map(alike, sent)) == list(map(alike, taken(server)))
    assert {message.split()[0] for message in sent} == {"other\x06\x166"}


def test_links_come_along(app: Celery[Any], server: Server) -> None:
    task, after = a_task(app), a_task(app, "after")
    link = {"link": after.s(1), "link_error": [after.si(2)]}
    ids = list(task.enqueue(ROWS, **link).task_ids)
    sent = taken(server)
    for row, task_id in zip(ROWS, ids, strict=True):
        task.apply_async(row, task_id=task_id, **link)
    assert list(map(alike, sent)) == list(map(alike, taken(server)))


def test_a_relative_end_is_counted_from_when_it_is_sent(app: Celery[Any], server: Server) -> None:
    before = datetime.now(UTC)
    a_task(app).enqueue(ROWS, expires=60)
    for message in taken(server):
        headers = json.loads(message.partition(" ")[2])["headers"]
        expires = datetime.fromisoformat(headers["expires"])
        assert timedelta(0) <= expires - before - timedelta(seconds=60) < timedelta(seconds=30)


def test_who_listens_to_what_is_sent_hears_of_each(app: Celery[Any], server: Server) -> None:
    """Tracers put their headers into messages by this signal."""
    ids = list[str]()

    def mark(headers: Any = None, **_: Any) -> None:
        ids.append(headers["id"])
        headers["trace"] = f"of {headers['id']}"

    signals.before_task_publish.connect(mark)
    try:
        found = a_task(app).enqueue(ROWS)
    finally:
        signals.before_task_publish.disconnect(mark)
    assert list(found.task_ids) == ids
    headers = [json.loads(one.partition(" ")[2])["headers"] for one in taken(server)]
    assert [one["trace"] for one in headers] == [f"of {task_id}" for task_id in ids]


def test_events_are_sent_where_they_are_on(app: Celery[Any], server: Server) -> None:
    app.conf.task_send_sent_event = True
    client: Any = server.client
    heard = client.pubsub()
    heard.psubscribe("*celeryev*")
    assert heard.get_message(timeout=5)
    found = a_task(app).enqueue(ROWS)
    events: list[Any] = [heard.get_message(timeout=5) for _ in ROWS]
    bodies = [base64.b64decode(json.loads(event["data"])["body"]) for event in events]
    assert [json.loads(body)["uuid"] for body in bodies] == list(found.task_ids)
    heard.close()


def test_a_class_of_its_own_sees_each_call(app: Celery[Any], server: Server) -> None:
    class Wary(Task):  # type: ignore[type-arg]
        """Somebody's own class, which has to see each call."""

        def apply_async(  # type: ignore[override]
            self, args: Any = None, kwargs: Any = None, **options: Any
        ) -> Any:
            return super().apply_async(args, kwargs, headers={"seen": args[1]}, **options)

    a_task(app, base=Wary).enqueue(ROWS)
    headers = [json.loads(one.partition(" ")[2])["headers"] for one in taken(server)]
    assert [one["seen"] for one in headers] == [row[1] for row in ROWS]


def test_a_router_that_reads_arguments_is_asked_of_each(app: Celery[Any], server: Server) -> None:
    def by_number(name: str, args: Any, *_: Any, **__: Any) -> Any:
        return {"queue": "odd" if args[1] % 2 else "even"}

    app.conf.task_routes = [by_number]
    app.amqp.flush_routes()
    vars(app.amqp)["router"] = app.amqp.Router()
    a_task(app).enqueue(ROWS)
    found = [one.split(" ", 1) for one in taken(server)]
    assert len(found) == len(ROWS)
    for key, message in found:
        number = int(re.findall(r"\d+", json.loads(message)["headers"]["argsrepr"])[0])
        assert key == ("odd" if number % 2 else "even")


def test_nothing_is_subscribed_to(app: Celery[Any], server: Server) -> None:
    """A loop of `delay` subscribes to each of its results: a million channels."""
    app.conf.task_send_sent_event = True  # The way by which Celery makes each message.
    ids = a_task(app).enqueue(ROWS).task_ids
    channels = server.client.pubsub_channels("celery-task-meta-*")
    assert {f"celery-task-meta-{task_id}" for task_id in ids}.isdisjoint(channels)
    assert "on_task_call" not in vars(app.backend)


@given(st.lists(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none())))
def test_short_arguments_are_shown_as_celery_shows_them(values: list[Any]) -> None:
    for most in (1024, 30):
        assert _shown(tuple(values), most) == shown(tuple(values), most)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_id_of_a_key_is_a_uuid5(key: str) -> None:
    import uuid

    namespace = uuid.UUID("5f0c2c1e-6f0b-5f57-9a5e-0d9b6f2f4c11")
    assert id_of_key("say", key, key) == str(uuid.uuid5(namespace, f"say:{key}"))


def test_fresh_ids_are_uuid4s() -> None:
    import uuid

    some = [next(ids) for ids in [fresh_ids()] for _ in range(1000)]
    assert len(set(some)) == 1000
    assert {uuid.UUID(one).version for one in some} == {4}
    assert [str(uuid.UUID(one)) for one in some] == some


@pytest.mark.parametrize("name", ["none", "an end", "headers", "priority and queue"])
def test_celery_makes_the_first_and_the_last_and_no_other(
    app: Celery[Any], server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Else `enqueue` is a slow loop, and nothing else would tell."""
    made = list[str]()
    celerys: Any = Task
    before = celerys._get_exec_options

    def noted(task: Any) -> Any:
        made.append(task.name)
        return before(task)

    monkeypatch.setattr(celerys, "_get_exec_options", noted)
    a_task(app).enqueue(ROWS, **OPTIONS[name])
    assert len(made) == 2
