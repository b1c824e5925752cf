"""What a broker does to messages: rubbish, losses, doubles, queues that are none."""

from __future__ import annotations

import base64
import json
import pickle
import uuid
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

from tests.apps import linked, outcomes
from tests.harness import ReservedPort, Server, wait_until
from tests.outcomes import World
from tests.test_rubbish import Canary

QUEUES = ("batchq", "celery")


def envelope(body: bytes, task: str, *, kind: str = "application/json") -> str:
    """A message as kombu puts it into a Redis list."""
    headers = {"lang": "py", "task": task, "id": uuid.uuid4().hex, "argsrepr": "", "retries": 0}
    properties = {
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": "batchq"},
        "delivery_mode": 2,
        "delivery_tag": uuid.uuid4().hex,
        "priority": 0,
    }
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "binary",
        "content-type": kind,
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(message)


def books(world: World) -> None:
    """All is resolved, in one batch, once each. (Celery logs what it refuses with a traceback.)"""
    world.quiet()
    ledger = world.emulator.ledger()
    assert ledger["batches_created"] == 1
    assert {line["ok"] + line["failed"] for line in ledger["lines"].values()} == {1}


# Rubbish


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize(
    "kind", ["application/x-python-serialize", "application/x-yaml", "application/json"]
)
def test_a_pickle_is_refused_and_the_worker_lives(
    world: World, tmp_path: Path, queue: str, kind: str
) -> None:
    canary = tmp_path / "canary"
    poison = pickle.dumps(((Canary(canary),), {}, {}))
    world.stack.redis.lpush(queue, envelope(poison, "batchq.flush", kind=kind))
    world.ask(2)
    assert world.errors() == []
    books(world)
    assert not canary.exists()
    assert world.stack.processes[0].exit_code is None


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize(
    ("body", "task"),
    [
        pytest.param(b"{", "batchq.flush", id="broken JSON"),
        pytest.param(b'[["no such batch"], {}, {}]', "batchq.flush", id="an unknown batch"),
        pytest.param(b'[["x", "y"], {}, {}]', "batchq.poll", id="an unknown chain"),
        pytest.param(b'[["x"], {}, {}]', "batchq.fetch", id="nothing to fetch"),
        pytest.param(b'[[["x", "y-0", ""]], {}, {}]', "batchq.resume", id="unknown tasks"),
        pytest.param(b"[[], {}, {}]", "batchq.nothing", id="an unknown task"),
    ],
)
def test_a_message_that_says_nothing_is_dropped(
    world: World, queue: str, body: bytes, task: str
) -> None:
    world.stack.redis.lpush(queue, envelope(body, task))
    world.ask(2)
    assert world.errors() == []
    assert world.emulator.ledger()["batches_created"] == 1
    assert world.stack.processes[0].exit_code is None


# Messages come twice


def test_each_step_that_comes_several_times_has_one_effect(world: World) -> None:
    """All of our messages five times over, while two tasks are on their way."""
    redis_client = world.stack.redis
    world.emulator.fault("slow", call="create", seconds=0.5)
    world.ask(2)
    seen: set[tuple[str, str]] = set()

    def double() -> bool:
        """Each of our steps five times, whenever the batch has gone on."""
        record = next(iter(world.open()), None)
        if record is not None and (record.state, record.chain) not in seen and len(seen) < 6:
            seen.add((record.state, record.chain))
            tasks = outcomes.app.tasks
            for _ in range(5):
                tasks["batchq.flush"].delay(record.id)
                tasks["batchq.poll"].delay(record.id, record.chain)
                tasks["batchq.fetch"].delay(record.id)
                tasks["batchq.resume"].delay([result.id for result in world.sent])
        return all(result.ready() for result in world.sent)

    wait_until(double, description="it is over", timeout=60)
    assert len(seen) >= 2
    assert world.errors() == []
    wait_until(lambda: not redis_client.llen("batchq"), description="all came", timeout=60)
    books(world)


@pytest.mark.parametrize("times", [2, 5])
def test_a_task_that_comes_several_times_at_once_asks_once(world: World, times: int) -> None:
    """Two processes take the same message: one of them asks, and answers, the other ends."""
    client = world.stack.redis
    worker = world.stack.processes[0]
    worker.pause()
    task_id = uuid.uuid4().hex
    sent = [outcomes.say.apply_async(("at once",), task_id=task_id) for _ in range(times)]
    world.sent = sent[:1]
    worker.resume()
    wait_until(lambda: world.journal.waiting.count() == 1, description="one has asked")
    wait_until(lambda: not client.llen("celery"), description="all came")
    outcomes.app.tasks["batchq.flush"].delay(everything=True)
    assert world.errors() == []
    assert world.journal.tallies.counters()["captured"] == 1
    books(world)


# Messages are lost


def test_a_queue_that_is_deleted_is_filled_again(world: World) -> None:
    """The messages of our steps are gone with it: the journal is not."""
    client = world.stack.redis
    world.emulator.fault("slow", call="create", seconds=0.5)
    world.ask(3)
    wait_until(world.open, description="they are in a batch")
    stop = 30

    def delete() -> bool:
        nonlocal stop
        stop -= 1
        client.delete("batchq")
        return stop == 0

    wait_until(delete, description="our queue was deleted again and again", every=0.02)
    assert world.errors() == []
    books(world)


def test_a_queue_of_a_wrong_type_is_an_error_of_whoever_sends(world: World) -> None:
    client = world.stack.redis
    client.set("void", "no queue")
    with pytest.raises(OperationalError, match="WRONGTYPE"):
        outcomes.say.apply_async(("into the void",), queue="void")
    client.delete("void")
    world.ask(1)
    assert world.errors() == []


def test_a_replica_takes_no_task(server: Server, tmp_path: Path) -> None:
    replica = Server(ReservedPort(), tmp_path, "--replicaof", "127.0.0.1", str(server.port.number))
    app = linked.made(replica.url)
    try:
        with pytest.raises(OperationalError, match=r"(?i)read ?only"):
            app.tasks["ask"].delay("to a replica")
    finally:
        app.close()
        replica.client.close()
        replica.stop()


def test_an_argument_of_ten_megabytes(world: World) -> None:
    """It is in the message, in the prompt and on the batch's line."""
    world.sent = [outcomes.say.delay("x" * 10_000_000)]
    wait_until(
        lambda: world.journal.tallies.counters().get("captured") == 1, description="it has asked"
    )
    outcomes.app.tasks["batchq.flush"].delay(everything=True)
    assert world.errors() == []
    books(world)
