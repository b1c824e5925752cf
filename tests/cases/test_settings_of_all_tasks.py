"""What an app says of all its tasks is not said of Batchq's steps, in whichever way it is said.

Annotations come as a dict, in a list, from an object, or by a name; options from the class of all
tasks; routes for "*" as a pattern or from a function. Each was made for tasks of another kind: it
cut off downloads, throttled polls, or sent steps to where nobody takes them.
"""

from __future__ import annotations

from typing import Any

import pytest
from celery.app.task import Task
from kombu import Queue

from batchq.notify.post import NotTold
from tests.apps.base import make_app

STEPS = ("flush", "poll", "fetch", "resume", "rescue")
FOR_ALL: dict[str, Any] = {
    "acks_late": False,
    "acks_on_failure_or_timeout": False,
    "autoretry_for": (Exception,),
    "exchange": "elsewhere",
    "expires": 1,
    "ignore_result": False,
    "max_retries": 1,
    "priority": 9,
    "queue": "elsewhere",
    "rate_limit": "1/h",
    "reject_on_worker_lost": False,
    "routing_key": "elsewhere",
    "serializer": "pickle",
    "soft_time_limit": 1,
    "store_errors_even_if_ignored": True,
    "time_limit": 2,
    "track_started": True,
}


class ForAll:
    def annotate_any(self) -> dict[str, Any]:
        return FOR_ALL


class ForEach:
    def annotate(self, _task: Any) -> dict[str, Any]:
        return FOR_ALL


Base: Any = type("Base", (Task,), {**FOR_ALL, "abstract": True})

IN_SETTINGS = {
    "task_acks_late": False,
    "task_acks_on_failure_or_timeout": False,
    "task_compression": "gzip",
    "task_default_priority": 9,
    "task_default_rate_limit": "1/h",
    "task_ignore_result": False,
    "task_reject_on_worker_lost": False,
    "task_serializer": "pickle",
    "task_soft_time_limit": 1,
    "task_store_errors_even_if_ignored": True,
    "task_time_limit": 2,
    "task_track_started": True,
}


def routed(name: str, *_: Any, **__: Any) -> dict[str, Any]:
    return {"queue": "elsewhere", "exchange": "elsewhere", "routing_key": name}


WAYS: dict[str, dict[str, Any]] = {
    "a dict": {"task_annotations": {"*": FOR_ALL}},
    "a dict by name": {"task_annotations": {f"batchq.{step}": FOR_ALL for step in STEPS}},
    "a list": {"task_annotations": [{"*": FOR_ALL}, {"*": {"time_limit": 1}}]},
    "an object": {"task_annotations": ForAll()},
    "an object for each": {"task_annotations": (ForEach(),)},
    "a name": {"task_annotations": f"{__name__}.ForAll"},
    "settings": IN_SETTINGS,
    "a class": {"task_cls": Base},
    "routes": {"task_routes": {"*": "elsewhere"}},
    "a pattern": {"task_routes": ([("batchq.*", {"exchange": "x", "routing_key": "y"})],)},
    "a function": {"task_routes": (routed,)},
    "queues": {"task_queues": [Queue("celery")], "task_create_missing_queues": False},
    "no default queue": {"task_default_queue": "main", "task_default_routing_key": "main.x"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_keeps_what_is_its_own(step: str, way: str) -> None:
    app = app_with(WAYS[way])
    task: Any = app.tasks[f"batchq.{step}"]
    assert task.rate_limit is None
    assert task.soft_time_limit > 3600
    assert task.time_limit > task.soft_time_limit
    assert task.acks_late
    assert task.acks_on_failure_or_timeout
    assert task.reject_on_worker_lost
    assert task.ignore_result
    assert not task.store_errors_even_if_ignored
    assert not task.track_started
    assert not hasattr(task, "_orig_run"), "nothing tries it again"


@pytest.mark.parametrize("way", WAYS)
def test_the_task_for_notices_is_tried_again_as_it_says_itself(way: str) -> None:
    task: Any = app_with(WAYS[way]).tasks["batchq.notify"]
    assert task.autoretry_for == (NotTold,)
    assert (task.retry_backoff, task.retry_backoff_max, task.max_retries) == (1, 30, 120)
    assert (task.rate_limit, task.soft_time_limit, task.time_limit) == (None, 30, 60)
    assert task.ignore_result


@pytest.mark.parametrize("way", WAYS)
def test_a_step_goes_to_its_own_queue(way: str, redis_url: str) -> None:
    app = app_with(WAYS[way] | {"broker_url": redis_url, "result_backend": redis_url})
    app.tasks["batchq.poll"].apply_async(("a batch",), countdown=1)
    app.tasks["batchq.flush"].s(everything=True).apply_async()
    with app.connection_for_read() as connection, connection.SimpleQueue("batchq") as queue:
        messages = [queue.get(timeout=5) for _ in range(2)]
        for message in messages:
            message.ack()
    assert [each.headers["task"] for each in messages] == ["batchq.poll", "batchq.flush"]
    assert {each.content_type for each in messages} == {"application/json"}
    assert {each.headers["expires"] for each in messages} == {None}
    assert all(limit > 3600 for each in messages for limit in each.headers["timelimit"])
    app.close()


def app_with(conf: dict[str, Any]) -> Any:
    cls = conf.get("task_cls")
    app: Any = make_app("for-all", **{name: conf[name] for name in conf if name != "task_cls"})
    if cls is not None:
        app.task_cls = cls
    app.finalize()
    return app
