"""200 images of 5 MB on a Redis of 600 MB: with a storage all get their answers, and no worker
grows by how many there are. Without one, the tasks that Redis has no room for say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError

from batchq.journal import Journal, journal_of
from tests.apps.base import make_app
from tests.harness import Process, ReservedPort, Server, Stack, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

APP = "tests.apps.images"
SIZE = 5_000_000
FEW, MANY = 8, 200
MOST = 600_000_000


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Server]:
    """A Redis for the journal alone: what Celery keeps is not what this is about."""
    folder = tmp_path / "journal"
    folder.mkdir()
    server = Server(ReservedPort(), folder)
    yield server
    server.stop()


def put(stack: Stack, journal: Server, most: int, **settings: Any) -> tuple[Process, Process]:
    """One worker that asks, one that flushes, on a journal that has so many bytes of memory."""
    journal.client.config_set("maxmemory", most)
    settings["batchq_redis_url"] = journal.url
    environment = {"IMAGES_SETTINGS": json.dumps(settings)}
    asks = stack.worker(APP, pool="solo", queues=["celery"], environment=environment)
    flushes = stack.worker(APP, pool="solo", queues=["batchq"], environment=environment)
    stack.beat(APP, environment=environment)
    return asks, flushes


def peak(process: Process) -> float:
    """The most memory that a process has ever held, in megabytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1_000_000


def go(stack: Stack, view: Journal, count: int) -> list[Any]:
    """So many tasks ask, all that waits is flushed; returns what they return."""
    app = stack.app(APP)
    before = view.tallies.counters().get("captured", 0)
    results = [app.tasks[f"{APP}.describe"].delay(number, SIZE) for number in range(count)]
    # Whatever fills a file goes by itself, and comes back, while others still ask.
    wait_until(
        lambda: view.tallies.counters().get("captured", 0) == before + count,
        description="all have asked",
        timeout=400,
    )
    app.tasks["batchq.flush"].delay(everything=True)
    return [result.get(timeout=400) for result in results]


def test_what_a_redis_has_no_room_for_lies_outside(
    stack: Stack, journal: Server, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    storage.mkdir()
    workers = put(stack, journal, MOST, batchq_large_bodies=str(storage))
    view = journal_of(make_app("looks", batchq_redis_url=journal.url))
    assert len(set(go(stack, view, FEW))) == FEW
    few = list(map(peak, workers))
    assert len(set(go(stack, view, MANY))) == MANY
    many = list(map(peak, workers))
    # A gigabyte more is to make no difference to either; eight bodies are what allocators keep.
    grown = [after - before for before, after in zip(few, many, strict=True)]
    assert max(grown) < 8 * SIZE / 1e6, (few, many)
    assert journal.client.info("memory")["used_memory_peak"] < 100_000_000
    assert stack.emulator.ledger(summary=True)["totals"]["batch"]["ok"] == FEW + MANY
    left = [path for path in storage.glob("*/*") if not path.name.startswith("shared-")]
    assert left == []


def test_without_a_storage_those_that_do_not_fit_say_so(stack: Stack, journal: Server) -> None:
    """And nothing else breaks: the others are answered, and then there is room again."""
    put(stack, journal, 50_000_000)
    view = journal_of(make_app("looks", batchq_redis_url=journal.url))
    app = stack.app(APP)
    describe = app.tasks[f"{APP}.describe"]
    results = [describe.delay(number, SIZE) for number in range(16)]

    def refused() -> list[Any]:
        return [result for result in results if result.state == "FAILURE"]

    wait_until(
        lambda: view.tallies.counters().get("captured", 0) + len(refused()) == len(results),
        description="all have asked, and some were refused",
        timeout=60,
    )
    full = refused()
    assert 2 < len(full) < 14
    for result in full:
        with pytest.raises(OutOfMemoryError, match="used memory > 'maxmemory'"):
            result.get()
    app.tasks["batchq.flush"].delay(everything=True)
    assert all(result.get(timeout=200) for result in results if result not in full)
    again = describe.delay(99, SIZE)
    wait_until(lambda: view.lanes.all() != [], description="there is room again")
    app.tasks["batchq.flush"].delay(everything=True)
    assert again.get(timeout=60)
