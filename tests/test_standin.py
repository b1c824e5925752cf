"""Beat is away: a worker sends batchq's ticks, keeps its schedules, and everybody can see it."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest

from batchq.overview import status
from tests.apps import standin
from tests.harness import Stack, wait_until

pytestmark = pytest.mark.long

APP = "tests.apps.standin"
BEGINS = "sends batchq's ticks until it is back"


def test_one_worker_stands_in_until_beat_is_back(stack: Stack) -> None:
    workers = [stack.worker(APP, concurrency=1, wait=False) for _ in range(2)]
    # Its lane is flushed by a schedule of batchq_flush_at, and by nothing else.
    assert standin.ask.delay("without beat").get(timeout=30)
    now = status(standin.app)
    assert now.beat_seen is None
    assert now.stands_in is not None
    (first,) = (
        one for one in workers if f" {now.stands_in.partition('/')[0]} ready." in one.output()
    )
    second = next(one for one in workers if one is not first)
    assert first.output().count(BEGINS) == 1, "it is said once"
    assert "beat was last seen never" in first.output()
    assert BEGINS not in second.output()

    first.kill()
    second.wait_for_output(BEGINS)
    assert standin.ask.delay("the other stands in").get(timeout=30)

    beat = stack.beat(APP)
    second.wait_for_output("beat is back")
    assert status(standin.app).stands_in is None
    seen = status(standin.app).beat_seen
    assert seen is not None
    assert seen < timedelta(seconds=5)
    assert standin.ask.delay("with beat").get(timeout=30)
    assert status(standin.app).stands_in is None

    beat.kill()
    wait_until(lambda: second.output().count(BEGINS) == 2, description="it stands in again")
    assert "beat was last seen never" not in second.output().rpartition("beat is back")[2]
    assert stack.emulator.ledger()["lines_known"] == 3


def test_a_worker_that_stands_in_stops_when_it_is_told(stack: Stack) -> None:
    worker = stack.worker(APP)
    worker.wait_for_output(BEGINS)
    worker.send(signal.SIGTERM)
    # A child of Celery's prefork pool that has just ended a task waits for up to 30 s to be heard.
    assert worker.wait(timeout=60) == 0
    wait_until(lambda: status(standin.app).stands_in is None, description="nobody stands in")


def test_a_beat_beside_the_workers_is_never_missed(stack: Stack) -> None:
    stack.beat(APP)
    worker = stack.worker(APP)
    assert standin.ask.delay("with beat").get(timeout=30)
    began = stack.redis.time()[0]
    wait_until(lambda: stack.redis.time()[0] > began + 2, description="more than three ticks")
    assert BEGINS not in worker.output()
