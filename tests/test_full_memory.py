"""A Redis that takes no writes: full, short of disk, a replica, or back without its last bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError, OutOfMemoryError, ResponseError  # noqa: A004

from batchq.journal import Journal, journal_of
from tests.apps.base import make_app
from tests.harness import ReservedPort, Server, Stack, wait_until
from tests.journals import Asked, capture, claim, message, outcome, prompt

MODULE = "tests.apps.unsafe"
Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server of this test's own, for the journal alone."""
    with ExitStack() as servers:

        def start(*options: str) -> Server:
            port = ReservedPort()
            folder = tmp_path / f"valkey-{port.number}"
            folder.mkdir()
            server = Server(port, folder, "--appendfsync", "always", *options)
            servers.callback(server.stop)
            return server

        yield start


def journal_on(server: Server) -> Journal:
    return journal_of(make_app(f"on {server.port.number}", batchq_redis_url=server.url))


def fill(server: Server) -> None:
    """Leave no memory for anything."""
    server.client.config_set("maxmemory", 1)


def give_back(server: Server) -> None:
    server.client.config_set("maxmemory", 0)


def everything(server: Server) -> dict[str, Any]:
    """All keys with all that they hold."""
    read: dict[str, Callable[[str], Any]] = {
        "string": server.client.get,
        "hash": server.client.hgetall,
        "set": server.client.smembers,
        "zset": lambda key: server.client.zrange(key, 0, -1, withscores=True),
    }
    keys = [str(key) for key in server.client.scan_iter()]
    return {key: read[str(server.client.type(key))](key) for key in keys}


# Nothing is written by half


def full(server: Server) -> Callable[[], None]:
    fill(server)
    return lambda: give_back(server)


def replica(server: Server) -> Callable[[], None]:
    """Its primary is nowhere, so it keeps what it has."""
    client: Any = server.client
    client.replicaof("127.0.0.1", "1")
    return lambda: client.replicaof("NO", "ONE")


def without_disk(server: Server) -> Callable[[], None]:
    """What it saves has no place to go, as on a full disk."""
    in_the_way = server.directory / "dump.rdb"
    in_the_way.mkdir()
    server.client.config_set("save", "3600 1")
    server.client.bgsave()

    def status() -> str:
        known: dict[str, Any] = server.client.info("persistence")
        return "" if known["rdb_bgsave_in_progress"] else known["rdb_last_bgsave_status"]

    wait_until(lambda: status() == "err", description="it could not save")

    def again() -> None:
        in_the_way.rmdir()
        server.client.bgsave()
        wait_until(lambda: status() == "ok", description="it has saved")

    return again


@pytest.mark.parametrize(
    ("break_it", "error"),
    [(full, OutOfMemoryError), (replica, ConnectionError), (without_disk, ResponseError)],
)
def test_a_capture_is_written_whole_or_not_at_all(
    start: Start, break_it: Callable[[Server], Callable[[], None]], error: type[Exception]
) -> None:
    server = start()
    journal = journal_on(server)
    capture(journal)
    lease, _ = claim(journal, "mine")
    before = everything(server)
    heal = break_it(server)
    prompts = [prompt("mine", number) for number in range(3)]

    def ask() -> str:
        return journal.runs.capture(
            "mine", token=lease.token, message=message("mine"), prompts=prompts, next_number=3
        )

    with pytest.raises(error):
        ask()
    with pytest.raises(error):
        claim(journal, "another")
    # A replica is asked again for so long that a lease ends meanwhile.
    assert all(everything(server)[key] == before[key] for key in before if ":lease:" not in key)
    assert everything(server).keys() <= before.keys()
    heal()
    assert ask() == "CAPTURED"


def in_a_batch(journal: Journal, count: int) -> tuple[list[Asked], str]:
    asked = [capture(journal) for _ in range(count)]
    lane, limits = asked[0].prompts[0].lane, make_app("limits").conf
    assert limits is not None
    from batchq.settings.limits import Limits

    journal.lanes.seal(lane, "b", limits=Limits(), tokens=10**9)
    return asked, "b"


def test_what_runs_gets_done_in_a_full_memory(start: Start) -> None:
    """A write that needs no memory, first in each script, lets the rest of it through.

    Each of these was refused by a full Redis, so that nothing got done, and no memory came free.
    """
    server = start()
    journal = journal_on(server)
    asked, batch_id = in_a_batch(journal, 3)
    fill(server)
    lane = asked[0].prompts[0].lane
    from datetime import timedelta

    with journal.batches.lease(batch_id) as lease:
        assert lease is not None
        advanced = journal.batches.advance(batch_id, lease, due=timedelta(0), state="finished")
        assert advanced == "ADVANCED"
        words = journal.answers.add(lane, [(one.custom_ids[0], outcome()) for one in asked[:2]])
        assert words == ["READY", "READY"]
        record = journal.batches.get(batch_id)
        assert record is not None
        left = asked[2].custom_ids
        assert journal.lanes.requeue(record, left, use_attempt=True) == {left[0]: "REQUEUED"}
        assert journal.batches.close(record, lease) == "CLOSED"
    ready = [one.task_id for one in asked[:2]]
    journal.resuming.sent(ready)
    for task_id in ready:
        run, claimed = claim(journal, task_id)
        assert claimed.word == "CLAIMED"
        assert claimed.entries[0].outcome == outcome()
        settled = journal.runs.settle(task_id, token=run.token, state="SUCCESS", final=True)
        assert settled == "SETTLED"
    assert journal.waiting.count() == 1
    assert journal.resuming.count() == 0


# A worker on a full Redis


def put(stack: Stack, journal: Server) -> Any:
    settings = {"batchq_redis_url": journal.url}
    environment = {"UNSAFE_SETTINGS": json.dumps(settings)}
    stack.worker(MODULE, pool="threads", concurrency=4, environment=environment)
    stack.beat(MODULE, environment=environment)
    return stack.app(MODULE)


def test_a_worker_comes_through_a_full_memory(stack: Stack, start: Start) -> None:
    """A batch is running when memory is full: it is finished. What is asked then fails as a task
    does, and one that is retried gets through when there is memory again.
    """
    server = start()
    app = put(stack, server)
    stack.emulator.fault("stuck_in_progress", times=None)
    running = [app.tasks["tests.apps.unsafe.say"].delay(f"early {n}") for n in range(5)]
    view = journal_on(server)
    wait_until(
        lambda: sum(b.lines for b in view.batches.open() if b.state == "submitted") == 5,
        description="they wait for batches",
    )
    fill(server)
    late = app.tasks["tests.apps.unsafe.say"].delay("late")
    stubborn = app.tasks["tests.apps.unsafe.stubborn"].delay("stubborn")
    stack.emulator.lift("stuck_in_progress")
    for result in running:
        assert result.get(timeout=30)
    with pytest.raises(OutOfMemoryError):
        late.get(timeout=30)
    wait_until(lambda: stubborn.state == "RETRY", description="it has tried")
    give_back(server)
    assert stubborn.get(timeout=30)
    ran = stack.emulator.ledger()["lines"].values()
    assert [line["ok"] for line in ran] == [1] * 6
    wait_until(lambda: not view.batches.open(), description="nothing is under way")
    # A result is there a moment before the journal lets go of its task.
    wait_until(
        lambda: (view.waiting.count(), view.resuming.count(), view.lanes.all()) == (0, 0, []),
        description="nothing is left",
    )


# A file that lacks its end


@pytest.mark.parametrize("cut", [1, 40, 400, 1500])
def test_what_a_cut_file_leaves_is_whole(start: Start, cut: int) -> None:
    """The machine died while the file was written: a transition is in it, or is not."""
    server = start()
    journal = journal_on(server)
    for _ in range(10):
        capture(journal, None, None, None)
    server.kill()
    (file,) = server.directory.glob("appendonlydir/*.incr.aof")
    with file.open("r+b") as end:
        end.truncate(file.stat().st_size - cut)
    server.start()
    tasks = [key for key in server.client.keys("{batchq}:task:*") if server.client.exists(key)]
    waiting = {
        f"{{batchq}}:task:{task!s}" for task in server.client.zrange("{batchq}:waiting", 0, -1)
    }
    assert 8 <= len(waiting) < 10
    lanes = journal.lanes.all()
    assert sum(lane.prompts for lane in lanes) == 3 * len(waiting)
    for key in waiting:
        known = server.client.hgetall(key)
        assert [known[f"{number}:place"] for number in range(3)] == ["lane"] * 3
        assert known["waiting"] == "3"
        assert len(server.client.hkeys(key.replace(":task:", ":bodies:"))) == 3
    # One that was claimed and not captured: its message comes again, and asks.
    assert len(tasks) - len(waiting) <= 1
    capture(journal)
