"""How long it takes until work goes on, with batchq's own settings, measured and printed.

The figures of the guarantees: a worker killed, 15 s; Redis restarted, 10 s. One test, because the
cases share their processes: each goes on from where the one before has left them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from batchq.journal import BatchRecord, Journal, journal_of
from tests.apps import recovery
from tests.conftest import PROCESSES
from tests.harness import Emulator, Process, ReservedPort, Server, Stack, wait_until

pytestmark = pytest.mark.long

APP = "tests.apps.recovery"
WORKER_KILLED = 15.0
REDIS_RESTARTED = 10.0


class Clinic:
    """A Redis that syncs each write, and the app under test on it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.app = recovery.make(stack.server.url)
        self.app.finalize()

    @property
    def journal(self) -> Journal:
        return journal_of(self.app)

    def worker(self, **options: Any) -> Process:
        environment = {"REDIS_URL": self.stack.server.url}
        return self.stack.worker(APP, environment=environment, **options)

    def start(self, task: str, text: str) -> Any:
        """Send a task, and flush once it has asked."""
        before = self.journal.tallies.counters().get("captured", 0)
        result = self.app.tasks[task].delay(text)
        wait_until(
            lambda: self.journal.tallies.counters().get("captured", 0) > before,
            description="it has asked",
        )
        self.flush()
        return result

    def flush(self) -> None:
        self.app.tasks["batchq.flush"].delay(everything=True)

    def held(self, text: str) -> int:
        return int(self.stack.redis.get(f"held:{text}") or 0)

    def newest(self) -> BatchRecord | None:
        return max(self.journal.batches.open(), key=lambda one: one.sealed_at, default=None)


def measured(what: str, condition: Callable[[], Any], *, since: float, limit: float) -> None:
    wait_until(condition, description=what, timeout=limit + 30)
    took = time.monotonic() - since
    print(f"{what}: {took:.1f} s")  # noqa: T201 the figure is what the test is for
    assert took <= limit, what


@pytest.fixture
def clinic(emulator: Emulator, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clinic]:
    server = Server(ReservedPort(), tmp_path, "--appendfsync", "always")
    stack = Stack(server, emulator, tmp_path)
    request.node.stash[PROCESSES] = stack.processes
    stack.beat(APP, environment={"REDIS_URL": server.url}, wait=False)
    clinic = Clinic(stack)
    yield clinic
    stack.stop()
    del clinic
    gc.collect()
    server.stop()


@pytest.mark.timeout(240)
def test_how_long_it_takes_until_work_goes_on(clinic: Clinic) -> None:
    a_worker_is_killed(clinic)
    all_workers_are_killed(clinic)
    redis_is_killed(clinic)


def a_worker_is_killed(clinic: Clinic) -> None:
    """Killed with a body in its second run, and between a create and its answer."""
    clinic.stack.redis.set("hold", 1)
    doomed = clinic.worker(wait=False)
    other = clinic.worker(queues=["idle"])
    doomed.wait_for_output(" ready.")
    body = clinic.start("hold", "first")
    wait_until(lambda: clinic.held("first"), description="the body has its answer")
    clinic.stack.emulator.fault("create_slow_after", seconds=20)
    batch = clinic.start("say", "second")
    wait_until(
        lambda: clinic.stack.emulator.fired("create_slow_after"), description="the create is sent"
    )
    for queue in ("celery", "batchq"):
        clinic.app.control.add_consumer(queue)
    wait_until(lambda: "idle" in other.output(), description="the other worker is there")
    doomed.kill()
    since = time.monotonic()

    def submitted() -> bool:
        newest = clinic.newest()
        return newest is None or newest.state in {"submitted", "finished"}

    measured("a killed batch step goes on", submitted, since=since, limit=WORKER_KILLED)
    measured(
        "a killed body runs again",
        lambda: clinic.held("first") == 2,
        since=since,
        limit=WORKER_KILLED,
    )
    clinic.stack.redis.delete("hold")
    assert body.get(timeout=30)
    assert batch.get(timeout=30)
    assert clinic.stack.emulator.ledger()["batches_created"] == 2


def all_workers_are_killed(clinic: Clinic) -> None:
    """Celery has let go of the message, and every worker dies in the second run of the body."""
    clinic.stack.redis.set("hold", 1)
    result = clinic.start("hold_acked_early", "third")
    wait_until(lambda: clinic.held("third"), description="the body has its answer")
    for worker in clinic.stack.processes[1:]:
        worker.kill()
    clinic.stack.redis.delete("hold")
    clinic.worker()
    since = time.monotonic()
    measured("all workers killed, and back", result.ready, since=since, limit=WORKER_KILLED)
    assert result.get()
    assert clinic.held("third") == 2


def redis_is_killed(clinic: Clinic) -> None:
    """A poll that comes due while Redis is away, or whose message went with it."""
    clinic.stack.emulator.fault("stuck_in_progress")
    result = clinic.start("say", "fourth")
    wait_until(lambda: (one := clinic.newest()) and one.status, description="it was polled")
    before = clinic.newest()
    assert before is not None
    clinic.stack.server.kill()
    clinic.stack.server.start()
    since = time.monotonic()
    due = since + max(0.0, clinic.journal.batches.due_in(before.id).total_seconds())

    def polled() -> bool:
        newest = clinic.newest()
        # Only a poll moves the time of the next one.
        return newest is None or clinic.journal.batches.due_in(newest.id) > timedelta(0)

    asked = clinic.app.tasks["say"].delay("fifth")
    measured(
        "a task asks after a restart of Redis",
        lambda: clinic.journal.tallies.counters()["captured"] == 5,
        since=since,
        limit=REDIS_RESTARTED,
    )
    wait_until(
        lambda: clinic.journal.batches.due_in(before.id) <= timedelta(0),
        description="a poll is due",
    )
    measured(
        "a poll that is due after a restart of Redis", polled, since=due, limit=REDIS_RESTARTED
    )
    clinic.stack.emulator.lift("stuck_in_progress")
    assert result.get(timeout=30)
    clinic.flush()
    assert asked.get(timeout=30)
