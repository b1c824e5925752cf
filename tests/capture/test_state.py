"""The state BATCHED: Celery's own, whoever writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Task
from openai import OpenAI

from batchq.capture.parked import BATCHED
from tests.capture.bench import Bench
from tests.harness import ReservedPort, Server, wait_until
from tests.journals import MODEL

client = OpenAI()


class Itself(Task):  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument]
    """A task that stores its states itself: nobody does that in its place."""

    stored: list[str] = []  # noqa: RUF012 by all of them

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        self.stored.append(kwargs["state"])
        super().update_state(*args, **kwargs)


def asking(bench: Bench, **options: Any) -> Any:
    @bench.task(**options)
    def ask(text: str) -> None:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}])

    return ask


def kept(bench: Bench, task_id: str) -> tuple[dict[str, Any], int]:
    """What Celery's backend has of a task, and for how many seconds."""
    backend: Any = bench.app.backend
    key = backend.get_key_for_task(task_id)
    return json.loads(backend.client.get(key)), backend.client.ttl(key)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"result_extended": True},
        {"result_expires": None},
        {"result_expires": 300},
        {"result_backend_transport_options": {"global_keyprefix": "ours_"}},
        {"database": 3},
    ],
    ids=str,
)
def test_the_journal_writes_what_celery_would(
    make_bench: Callable[..., Bench], redis_url: str, settings: dict[str, Any]
) -> None:
    """Once by the script, and once by a task that insists on storing it itself."""
    if "database" in settings:
        elsewhere = f"{redis_url.rpartition('/')[0]}/{settings['database']}"
        settings = {"result_backend": elsewhere, "batchq_redis_url": redis_url}
    bench = make_bench(**settings)
    by_script = asking(bench, name="ask")
    by_itself = asking(bench, name="ask_itself", base=Itself)
    Itself.stored.clear()
    found: list[dict[str, Any]] = []
    for task in (by_script, by_itself):
        result = bench.ask(task, "the same")
        state, seconds = kept(bench, result.id)
        assert state.pop("task_id") == result.id
        assert state.pop("name", task.name) == task.name
        found.append({**state, "minutes": round(seconds / 60)})
    assert found[0] == found[1]
    assert found[0]["status"] == BATCHED
    assert Itself.stored == [BATCHED]


def test_it_is_published_to_those_who_wait(bench: Bench) -> None:
    task = asking(bench)
    backend: Any = bench.app.backend
    with backend.client.pubsub() as heard:
        heard.psubscribe("*task-meta-*")
        result = bench.ask(task, "who listens?")

        def told() -> Any:
            heard_now = heard.get_message(timeout=0.1)
            return heard_now if heard_now and heard_now["type"] == "pmessage" else None

        message = wait_until(told, description="the state is published")
    assert message["channel"].decode().endswith(result.id)
    assert json.loads(message["data"])["status"] == BATCHED


@pytest.mark.parametrize("there", ['{"status": "SUCCESS", "result": 1}', "no JSON", "[1]"])
def test_what_must_stay_stays(bench: Bench, there: str) -> None:
    """Celery overwrites no SUCCESS, and what it cannot read is somebody else's."""
    result = bench.send(asking(bench), "again")
    backend: Any = bench.app.backend
    key = backend.get_key_for_task(result.id)
    backend.client.set(key, there)
    bench.deliver()
    assert backend.client.get(key).decode() == there
    assert bench.journal.waiting.count() == 1


def test_one_server_that_is_a_cluster(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    """A script's keys are all of one slot there: Celery's own command stores the state."""
    bus = ReservedPort()
    options = ("--cluster-enabled", "yes", "--cluster-port", str(bus.release()))
    server = Server(ReservedPort(), tmp_path, *options)
    try:
        node: Any = server.client
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(
            lambda: node.cluster("INFO")["cluster_state"] == "ok", description="the cluster is well"
        )
        bench = make_bench(result_backend=server.url, batchq_redis_url=server.url)
        result = bench.ask(asking(bench), "in which slot?")
        assert kept(bench, result.id)[0]["status"] == BATCHED
        assert bench.journal.waiting.count() == 1
    finally:
        server.stop()


def test_a_user_who_may_not_touch_results(
    make_bench: Callable[..., Bench], server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """No task fails for want of a state: it waits, and the log says what is missing."""
    acl: Any = server.client
    acl.execute_command("ACL", "SETUSER", "few", "on", ">few", "~{batchq}:*", "&*", "+@all")
    try:
        url = server.url.replace("//", "//few:few@")
        bench = make_bench(result_backend=url, batchq_redis_url=url)
        bench.send(asking(bench), "may I?")
        with caplog.at_level("WARNING", "batchq.capture"):
            bench.deliver()
        assert bench.journal.waiting.count() == 1
        assert "its state BATCHED could not be stored (NoPermissionError)" in caplog.text
    finally:
        acl.execute_command("ACL", "DELUSER", "few")
