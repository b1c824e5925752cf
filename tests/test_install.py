"""What `install` puts on an app: tasks on a queue of their own, beat entries, checked settings."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from celery import Celery

import batchq
from batchq import ConfigurationError
from tests.apps import installed
from tests.apps.base import make_app
from tests.harness import Process, Stack, wait_until

MODULE = "tests.apps.installed"


def worker(stack: Stack, *words: str, **settings: object) -> Process:
    """A worker with these words on its command line, and no others about queues."""
    return stack.celery(
        MODULE,
        "worker",
        *("--pool", "solo", "--without-mingle", "--without-gossip", "--loglevel", "info"),
        *("--hostname", f"{len(stack.processes)}@{stack.directory.name}"),
        *words,
        name=f"worker{len(stack.processes)}",
        environment={"INSTALLED_SETTINGS": json.dumps(settings)},
    )


# Beat


@pytest.mark.parametrize(
    "scheduler", ["celery.beat.PersistentScheduler", "redbeat.RedBeatScheduler"]
)
def test_the_schedule_is_added_to_the_apps_own(stack: Stack, scheduler: str) -> None:
    consumer = worker(stack)
    beat = stack.beat(MODULE, "--scheduler", scheduler)
    consumer.wait_for_output(" ready.")
    assert installed.say.delay("Is anybody there?").get(timeout=30)
    wait_until(lambda: int(str(stack.redis.get("notes:ticks") or 0)) > 1, description="two ticks")
    for entry in ("mine", "batchq.flush", "batchq.rescue"):
        assert f"Sending due task {entry} " in beat.output()


def test_installing_twice_is_installing_once() -> None:
    once = make_app("once")
    twice = batchq.install(batchq.install(make_app("twice")))
    assert sorted(twice.tasks) == sorted(once.tasks)
    batchq.install(twice)
    assert sorted(twice.conf.beat_schedule) == ["batchq.flush", "batchq.rescue"]


def test_install_waits_for_the_settings_of_a_lazy_app() -> None:
    app: Any = Celery("lazy", set_as_current=False)
    batchq.install(app)
    assert not app.finalized
    app.conf.update(broker_url="memory://", batchq_redis_url="redis://127.0.0.1:1/0")
    app.conf.update(batchq_queue="mine", batchq_tick=7)
    app.tasks["batchq.flush"].apply_async()
    with app.connection_for_read() as connection:
        sent = connection.SimpleQueue("mine").get(block=False)
    assert sent.headers["task"] == "batchq.flush"
    assert app.conf.beat_schedule["batchq.flush"]["schedule"] == 7


def test_flush_at_becomes_entries_of_their_own() -> None:
    app = make_app("at", batchq_flush_at=["02:30", "every 6 hours"])
    entries = [app.tasks and app.conf.beat_schedule[f"batchq.flush-at-{n}"] for n in (1, 2)]
    assert [entry["kwargs"] for entry in entries] == [{"everything": True}] * 2
    assert [str(entry["schedule"]) for entry in entries] == [
        "<crontab: 30 2 * * * (m/h/dM/MY/d)>",
        "<crontab: 0 */6 * * * (m/h/dM/MY/d)>",
    ]


# Queues


def test_a_worker_without_q_consumes_the_queue_of_batchq_too(stack: Stack) -> None:
    worker(stack, "--beat", "--schedule", str(stack.directory / "beat"))
    assert installed.say.delay("Both queues.").get(timeout=30)


def test_the_queue_may_have_another_name(stack: Stack) -> None:
    settings = {"batchq_queue": "apart", "task_create_missing_queues": False}
    process = worker(stack, "-B", "--schedule", str(stack.directory / "beat"), **settings)
    assert installed.say.delay("Another name.").get(timeout=30)
    assert ".> apart " in process.output()
    assert ".> batchq " not in process.output()


def test_a_worker_for_other_queues_leaves_the_steps_alone(stack: Stack) -> None:
    """They wait in their own queue for the worker that is told to take them."""
    users = worker(stack, "-Q", "celery")
    stack.beat(MODULE)
    result = installed.say.delay("Only mine.")
    wait_until(lambda: result.state == "BATCHED", description="the task has asked")
    wait_until(lambda: stack.redis.llen("batchq") > 1, description="ticks wait in their queue")
    assert stack.emulator.ledger()["uploads"] == 0
    ours = worker(stack, "-Q", "batchq")
    assert result.get(timeout=30)
    assert "batchq.flush" not in users.output().partition(" ready.")[2]
    assert "note_tick" not in ours.output().partition(" ready.")[2]


# Settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batchq_tick": 0}, "batchq_tick = 0: accepted is a number of seconds"),
        ({"batchq_flush_afterr": 60}, "Did you mean batchq_flush_after?"),
    ],
)
@pytest.mark.parametrize("program", ["worker", "beat"])
def test_a_wrong_setting_ends_a_process_at_its_start(
    stack: Stack, settings: dict[str, object], words: str, program: str
) -> None:
    """Celery logs what a signal's receiver raises and goes on; the worker then failed every
    batched task for want of batchq.flush, and beat sent nothing.
    """
    if program == "worker":
        process = worker(stack, **settings)
    else:
        environment = {"INSTALLED_SETTINGS": json.dumps(settings)}
        process = stack.beat(MODULE, environment=environment, wait=False)
    assert process.wait(timeout=30) != 0
    last = process.output().strip().splitlines()[-1]
    assert "batchq: batchq_" in last
    assert words in last


def test_a_wrong_setting_is_an_error_in_the_log_of_every_other_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A web process goes on: what it sends is taken by workers, which read settings themselves."""
    app = make_app("wrong", batchq_tick=0)
    with caplog.at_level(logging.ERROR):
        app.finalize()
    assert [record.name for record in caplog.records] == ["batchq.beat"]
    assert "batchq_tick = 0" in caplog.text
    with pytest.raises(ConfigurationError, match="batchq_tick = 0"):
        batchq.install(app)
    with pytest.raises(ConfigurationError, match="batchq_tick = 0"):
        batchq.status(app)
