"""A process that enqueues is killed, and started again; results come meanwhile."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError

import batchq
from tests.apps import bulk
from tests.harness import Process, Stack, wait_until

PROGRAM = [sys.executable, "-m", "tests.apps.bulk"]


def start(stack: Stack, rows: str, name: str, crash: str = "") -> Process:
    environment = {"BATCHQ_CRASH_AT": crash} if crash else {}
    return stack.process([*PROGRAM, rows], name=name, environment=environment)


def numbers(process: Process) -> list[int]:
    """What it has sent, what was known, what nobody has been seen to take."""
    assert process.wait(timeout=60) == 0, process.output()
    return [int(word) for word in process.output().split()]


@pytest.mark.parametrize("place", ["publish", "published", "noted"])
def test_a_second_start_sends_what_is_missing(stack: Stack, tmp_path: Path, place: str) -> None:
    """Killed in the middle of 3,000 rows. What was sent just before it could be noted is sent
    twice, and nothing else.
    """
    first = start(stack, "3000", "first", f"enqueue.{place}:3:kill:{tmp_path / 'proof'}")
    assert first.wait(timeout=60) == -signal.SIGKILL
    at_broker = 1_000 if place == "publish" else 1_500
    doubled = 500 if place == "published" else 0
    assert stack.redis.llen("celery") == at_broker
    found = numbers(start(stack, "3000", "second"))
    assert found == [3_000 - at_broker + doubled, 0, at_broker - doubled]
    ids = set(bulk.say.enqueue(range(3_000), key=int).task_ids)
    assert len(ids) == 3_000
    assert stack.redis.llen("celery") == 3_000 + doubled


def test_one_that_is_interrupted_goes_on(stack: Stack) -> None:
    first = start(stack, "endless", "first")
    wait_until(lambda: stack.redis.llen("celery") >= 10_000, description="the queue is full")
    first.send(signal.SIGINT)
    assert first.wait(timeout=30) != 0
    assert "KeyboardInterrupt" in first.output()
    assert stack.redis.llen("celery") == 10_000
    stack.redis.ltrim("celery", 0, 8_999)
    assert numbers(start(stack, "10000", "second")) == [0, 0, 10_000]


def test_no_task_runs_twice_where_its_message_came_twice(stack: Stack, tmp_path: Path) -> None:
    """Killed between its sending and its note; meanwhile a worker has taken some."""
    crash = f"enqueue.published:1:kill:{tmp_path / 'proof'}"
    assert start(stack, "30", "first", crash).wait(timeout=60) == -signal.SIGKILL
    assert numbers(start(stack, "30", "second")) == [30, 0, 0]
    assert stack.redis.llen("celery") == 60
    stack.worker("tests.apps.bulk", "--beat", "-s", str(tmp_path / "beat"))
    found = bulk.say.enqueue(range(30), key=int)
    ended = list(found.results(timeout=60))
    assert sorted(one.get() for one in ended) == list(range(30))
    wait_until(lambda: not stack.redis.llen("celery"), description="all messages are taken")
    assert stack.emulator.ledger()["totals"]["batch"]["ok"] == 30


def test_results_come_while_others_wait(stack: Stack, tmp_path: Path) -> None:
    """Failed ones are among them; a handle counts them, and may be read again."""
    queues = ["celery"] * 20 + ["later"] * 20
    calls = [
        bulk.say.s(number, "sour").set(queue=queue)
        for number, queue in zip(range(40), queues, strict=True)
    ]
    found = batchq.enqueue(calls, key=str)
    assert found.counts() == {"PENDING": 40}
    with pytest.raises(CeleryTimeoutError, match="no result came"):
        next(found.results(timeout=0))
    stack.worker("tests.apps.bulk", "--beat", "-s", str(tmp_path / "beat"))
    results = found.results(timeout=60)
    ended = [next(results) for _ in range(20)]
    assert {one.row for one in ended} == set(range(20))
    stack.worker("tests.apps.bulk", queues=["later"])
    ended += results
    assert sorted(one.row for one in ended) == list(range(40))
    failed = [one for one in ended if one.state == "FAILURE"]
    assert sorted(one.row for one in failed) == list(range(1, 40, 2))
    with pytest.raises(LookupError, match="nothing about"):
        failed[0].get()
    assert found.counts() == {"SUCCESS": 20, "FAILURE": 20}
    assert len(list(found)) == 40
    bulk.app.control.purge()
    again = batchq.enqueue(calls, key=str)
    assert (again.sent, again.known, len(list(again))) == (0, 40, 40)


def test_one_that_is_revoked_is_among_the_results(stack: Stack) -> None:
    found = bulk.say.enqueue(range(3))
    ids = list(found.task_ids)
    stack.worker("tests.apps.bulk", environment={"BATCHQ_FLUSH_AFTER": "3600"})
    wait_until(lambda: found.counts()["BATCHED"] == 3, description="all have asked")
    bulk.app.control.revoke(ids[1])
    ended = next(found.results(timeout=30))
    assert (ended.row, ended.task_id, ended.state) == (1, ids[1], "REVOKED")
