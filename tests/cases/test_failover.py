"""The Redis of the journal moves while tasks wait: by Sentinel, and in a Cluster.

`sentinel://` was refused, of a list only the first server was used, and on a Cluster each call was
answered by MOVED.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.result import denied_join_result
from redis.crc import key_slot

from batchq.journal import journal_of
from batchq.overview import status
from tests.apps import elsewhere
from tests.harness import Emulator, ReservedPort, Server, Stack, keys_without_end, wait_until
from tests.journals import DOCUMENTED
from tests.servers import MASTER, Cluster, Watched

pytestmark = pytest.mark.long

APP = "tests.apps.elsewhere"
SLOT = key_slot(b"{batchq}")
# Some are in a batch that takes an hour, and the rest in their lane, until a test lets them go.
HELD = {"batchq_flush_after": 3600, "batchq_flush_prompts": 20}
SLOW = ("--validate-seconds", "0.1", "--run-seconds", "3600", "--finalize-seconds", "0.1")


@pytest.fixture
def slow() -> Iterator[Emulator]:
    """Its batches end when its clock is moved."""
    emulator = Emulator(ReservedPort(), *SLOW)
    emulator.start()
    yield emulator
    emulator.stop()


class Journey:
    """Tasks that wait, some in a batch and some in a lane, on servers of which one goes."""

    def __init__(self, stack: Stack, slow: Emulator, settings: dict[str, Any], tasks: int) -> None:
        self.slow = slow
        self.app = elsewhere.made(HELD | settings)
        environment = {
            "ELSEWHERE": json.dumps(HELD | settings),
            "OPENAI_BASE_URL": f"http://127.0.0.1:{slow.port}/v1",
        }
        self.worker = stack.worker(APP, environment=environment)
        stack.beat(APP, environment=environment)
        task = self.app.tasks["ask"]
        with denied_join_result():
            # Not subscribed to yet: this process would lose that with the server.
            self.sent = [task.delay(f"number {number}") for number in range(tasks)]

        def all_wait() -> bool:
            now = status(self.app)
            return now.tasks_waiting == tasks and any(one.provider_id for one in now.batches)

        wait_until(all_wait, description="all tasks wait, some in a batch", timeout=60)

    def go_on(self) -> None:
        """Let all of it go, and wait for every result."""
        try:
            self.app.tasks["batchq.flush"].delay(everything=True)
            wait_until(self._is_over, description="all have ended", timeout=100, every=0.5)
            results = [one.get(timeout=20) for one in self.sent]
        finally:
            for one in self.sent:
                # When it is collected it would ask a server that is gone, and for long.
                vars(one)["backend"] = None
        assert len(set(results)) == len(self.sent), "each has its own answer"
        # The server that took over knew none of our scripts.
        assert "raised unexpected" not in self.worker.output()
        ledger = self.slow.ledger()
        assert ledger["duplicates"] == {}, "nothing is paid for twice"
        assert ledger["totals"]["batch"]["ok"] == len(self.sent)

    def _is_over(self) -> bool:
        self.slow.advance(600)
        now = status(self.app)
        return not (now.waiting or now.batches or now.tasks_waiting or now.tasks_resuming)

    def close(self) -> None:
        self.app.close()


# Sentinel


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with Watched(tmp_path / "watched") as made:
        yield made


def test_fifty_tasks_wait_while_the_primary_is_killed(
    watched: Watched, slow: Emulator, tmp_path: Path
) -> None:
    """Broker, results and journal are behind the same three sentinels."""
    options = {"master_name": MASTER, "visibility_timeout": 300}
    settings = {
        "broker_url": watched.url,
        "result_backend": watched.url,
        "broker_transport_options": options | {"socket_timeout": 4, "socket_connect_timeout": 2},
        "result_backend_transport_options": options,
        "redis_socket_timeout": 4,
        "redis_socket_connect_timeout": 2,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
    }
    stack = Stack(watched.primary, slow, tmp_path)
    try:
        journey = Journey(stack, slow, settings, 50)
        # What the replica has not seen is lost with its primary: that is asynchronous replication.
        assert watched.primary.client.wait(1, 10_000) == 1
        watched.fail_over()
        journey.go_on()
        assert keys_without_end(watched.replica.client, documented=DOCUMENTED) == []
        journey.close()
    finally:
        stack.stop()


def test_a_journal_of_its_own_behind_sentinels_with_a_password(
    tmp_path: Path, make_bench: Any
) -> None:
    """Other credentials for the sentinels than for the servers that they watch."""
    passwords = {"password": "of-the-server", "sentinels": "of-the-sentinels"}
    with Watched(tmp_path / "watched", **passwords) as watched:
        url = watched.url.replace("sentinel://", "sentinel://:of-the-server@")
        options = {"master_name": MASTER, "sentinel_kwargs": {"password": "of-the-sentinels"}}
        bench = make_bench(batchq_redis_url=url, batchq_redis_options=options)
        waiting = bench.ask(bench.task(elsewhere.ask), "behind sentinels")
        watched.fail_over()
        bench.answer()
        assert bench.deliver() == 1
        assert waiting.result
        assert "password" not in repr(bench.journal.store.config.link)


# A Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster") as made:
        yield made


@pytest.fixture
def cluster_with_replicas(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster", replicas=True) as made:
        yield made


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_cluster_keeps_the_journal_and_a_node_of_it_is_killed(
    stack: Stack, slow: Emulator, cluster_with_replicas: Cluster, scheme: str
) -> None:
    """Celery itself cannot use a Cluster: its messages and results are on a server beside it."""
    cluster = cluster_with_replicas
    serves = cluster.server_of(SLOT)
    others = [node for node in cluster.nodes if node is not serves]
    url = ";".join(one.url.replace("redis:", f"{scheme}:").removesuffix("/0") for one in others)
    if scheme == "redis":
        url = others[0].url  # One node, which is not the one; it says that it is a node.
    settings = {
        "broker_url": stack.server.url,
        "result_backend": stack.server.url,
        "batchq_redis_url": url,
    }
    journey = Journey(stack, slow, settings, 30)
    assert stack.redis.keys("{batchq}*") == [], "the journal is on the cluster"
    wait_for_replica(serves)
    serves.kill()
    journey.go_on()
    now = cluster.server_of(SLOT)
    assert now is not serves
    assert keys_without_end(now.client, documented=DOCUMENTED) == []
    journey.close()


def wait_for_replica(server: Server) -> None:
    assert server.client.wait(1, 10_000) == 1


def test_the_slot_moves_to_another_node(cluster: Cluster, make_bench: Any) -> None:
    """By hand, key by key: for a while calls are answered by ASK and TRYAGAIN, then by MOVED."""
    source = cluster.server_of(SLOT)
    target = next(node for node in cluster.nodes if node is not source)
    bench = make_bench(batchq_redis_url=source.url)
    waiting = bench.ask(bench.task(elsewhere.ask), "on its way")
    move(cluster, source, target)
    assert cluster.server_of(SLOT) is target
    bench.answer()
    assert bench.deliver() == 1
    assert waiting.result
    count: Any = source.client.execute_command
    assert count("CLUSTER", "COUNTKEYSINSLOT", SLOT) == 0


def test_calls_wait_while_the_slot_is_half_moved(cluster: Cluster, make_bench: Any) -> None:
    source = cluster.server_of(SLOT)
    target = next(node for node in cluster.nodes if node is not source)
    journal = journal_of(make_bench(batchq_redis_url=source.url).app)
    before = journal.adoption.epoch()
    begin(source, target)
    finished = threading.Timer(1.5, lambda: finish(cluster, source, target))
    finished.start()
    # The key is on its way already: the source says ASK until the slot is the other's.
    migrate(source, target)
    assert journal.adoption.epoch() == before
    finished.join()


def move(cluster: Cluster, source: Server, target: Server) -> None:
    begin(source, target)
    migrate(source, target)
    finish(cluster, source, target)


def begin(source: Server, target: Server) -> None:
    command: Any = source.client.execute_command
    to: Any = target.client.execute_command
    to("CLUSTER", "SETSLOT", SLOT, "IMPORTING", command("CLUSTER", "MYID"))
    command("CLUSTER", "SETSLOT", SLOT, "MIGRATING", to("CLUSTER", "MYID"))


def migrate(source: Server, target: Server) -> None:
    command: Any = source.client.execute_command
    while keys := command("CLUSTER", "GETKEYSINSLOT", SLOT, 100):
        port = str(target.port.number)
        command("MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS", *keys)


def finish(cluster: Cluster, source: Server, target: Server) -> None:
    name: Any = target.client.execute_command("CLUSTER", "MYID")  # type: ignore[no-untyped-call]
    for node in (target, source, *(n for n in cluster.nodes if n not in {source, target})):
        setslot: Any = node.client.execute_command
        setslot("CLUSTER", "SETSLOT", SLOT, "NODE", name)
