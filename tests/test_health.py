"""A Redis that may forget is refused, one that is not quite right is named; by real servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from batchq.journal.facts import Facts, look
from batchq.observe.diagnosis import Finding
from batchq.observe.diagnosis.server import findings
from batchq.overview import status
from tests.apps.base import make_app
from tests.harness import Process, ReservedPort, Server, Stack

MODULE = "tests.apps.unsafe"
Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers of this test's own, with the options that it names."""
    with ExitStack() as servers:

        def start(*options: str) -> Server:
            port = ReservedPort()
            folder = tmp_path / f"valkey-{port.number}"
            folder.mkdir()
            server = Server(port, folder, *options)
            servers.callback(server.stop)
            return server

        yield start


def of(server: Server, **options: Any) -> list[Finding]:
    with redis.Redis.from_url(server.url, **options) as client:
        return findings(look(client))


def levels(found: list[Finding]) -> list[str]:
    return [finding.level for finding in found]


def put(stack: Stack, program: str, url: str, **settings: object) -> Process:
    """A worker or beat on another Redis than the stack's."""
    words = {
        "worker": ("--pool", "solo", "--without-mingle", "--without-gossip"),
        "beat": ("--schedule", str(stack.directory / "schedule")),
    }
    return stack.celery(
        MODULE,
        program,
        *words[program],
        *("--loglevel", "info"),
        name=f"{program}{len(stack.processes)}",
        environment={"REDIS_URL": url, "UNSAFE_SETTINGS": json.dumps(settings)},
    )


def ends(process: Process) -> str:
    """What it said when it would not start."""
    assert process.wait(timeout=30) not in (0, None)
    return process.output()


# Facts in, findings out


def test_a_server_as_the_readme_wants_it_is_fine(start: Start) -> None:
    assert of(start("--appendfsync", "always")) == []


@pytest.mark.parametrize(
    "policy",
    "allkeys-lru allkeys-lfu allkeys-random volatile-lru volatile-lfu volatile-random "
    "volatile-ttl".split(),
)
def test_a_policy_that_evicts_is_unsafe(start: Start, policy: str) -> None:
    (found,) = of(start("--appendfsync", "always", "--maxmemory-policy", policy))
    assert found.level == "problem"
    assert policy in found.what
    assert "noeviction" in found.do


def test_a_replica_is_unsafe(start: Start) -> None:
    primary = start()
    replica = start("--replicaof", f"127.0.0.1 {primary.port.number}", "--appendfsync", "always")
    (found,) = of(replica)
    assert found.level == "problem"
    assert "replica" in found.what
    assert levels(of(primary)) == ["info"]


# As a server of that time says it, from its own documentation and source.
OLD = {
    "redis_version": "5.0.14",
    "redis_mode": "standalone",
    "os": "Linux 5.10.0 x86_64",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "role": "master",
    "used_memory": 875_312,
    "maxmemory": 0,
    "maxmemory_policy": "noeviction",
}


@pytest.mark.parametrize(
    ("version", "told"),
    [
        *(("5.0.14", ["problem"]), ("6.0.16", ["problem"]), ("6.2.0", []), ("7.0.15", [])),
        *(("7.2.4", []), ("10.0.0", []), ("unstable", [])),
    ],
)
def test_an_old_server_is_unsafe(version: str, told: list[str]) -> None:
    found = findings(Facts(info={**OLD, "redis_version": version}))
    assert levels(found) == told
    assert all(version in finding.what for finding in found)


def test_a_server_without_a_file_is_warned_of(start: Start) -> None:
    (found,) = of(start("--appendonly", "no"))
    assert (found.level, "appendonly" in found.do) == ("warning", True)


@pytest.mark.parametrize("how", ["everysec", "no"])
def test_a_file_that_is_synced_later_is_mentioned(start: Start, how: str) -> None:
    (found,) = of(start("--appendfsync", how))
    assert found.level == "info"
    assert how in found.what


def test_a_memory_that_is_nearly_full_is_warned_of(start: Start) -> None:
    most = 16 * 2**20
    server = start("--appendfsync", "always", "--maxmemory", str(most))
    assert of(server) == []
    count = 0
    while server.client.info("memory")["used_memory"] < 0.92 * most:
        server.client.set(f"filling {count}", "x" * 100_000)
        count += 1
    (found,) = of(server)
    assert found.level == "warning"
    assert "nearly full" in found.what


def test_what_a_server_does_not_say_is_named(start: Start) -> None:
    """Managed servers let nobody ask for their settings; an ACL may hide the rest as well."""
    server = start()
    server.client.acl_setuser(
        "app", enabled=True, passwords=["+secret"], keys="*", categories=["+@all", "-@dangerous"]
    )
    found = of(server, username="app", password="secret")
    assert levels(found) == ["info", "info"]
    assert "INFO" in found[0].what
    assert "CONFIG GET" in found[1].what
    server.client.acl_setuser("app", enabled=True, commands=["+info"])
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    found = of(server, username="app", password="secret")
    assert levels(found) == ["problem", "info"]


def test_a_disk_that_takes_nothing_is_warned_of() -> None:
    found = findings(Facts(info={**OLD, "redis_version": "7.2.4", "aof_last_write_status": "err"}))
    assert levels(found) == ["warning"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(7200, "7,200 s ahead of"), (-60, "60 s behind"), (4, ""), (-4, "")]
)
def test_a_clock_that_is_off_is_warned_of(seconds: float, words: str) -> None:
    found = findings(Facts(ahead=timedelta(seconds=seconds)))
    assert levels(found) == (["warning"] if words else [])
    assert all(words in finding.what for finding in found)


# Who refuses, and who goes on


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_nothing_starts_on_a_server_that_evicts(stack: Stack, start: Start, program: str) -> None:
    server = start("--maxmemory-policy", "allkeys-lru")
    server.client.config_set("requirepass", "hidden")
    url = server.url.replace("://", "://:hidden@")
    said = ends(put(stack, program, url))
    assert f"redis://:***@127.0.0.1:{server.port.number}/0 is not safe" in said
    assert "set maxmemory-policy to noeviction" in said
    assert "batchq_allow_unsafe_redis" in said
    assert "hidden" not in said


def test_nothing_starts_on_a_replica(stack: Stack, start: Start) -> None:
    primary = start()
    replica = start("--replicaof", f"127.0.0.1 {primary.port.number}")
    said = ends(put(stack, "worker", stack.server.url, batchq_redis_url=replica.url))
    assert "use the URL of its primary" in said


def test_who_knows_better_goes_on_and_it_is_logged(stack: Stack, start: Start) -> None:
    server = start("--maxmemory-policy", "volatile-lru")
    process = put(stack, "worker", server.url, batchq_allow_unsafe_redis=True)
    process.wait_for_output(" ready.")
    assert "maxmemory-policy is volatile-lru" in process.output()


def test_a_server_that_is_away_is_waited_for(stack: Stack, start: Start) -> None:
    server = start()
    server.kill()
    process = put(stack, "worker", server.url)
    process.wait_for_output("does not answer")
    server.start()
    process.wait_for_output(" ready.", timeout=40)


def test_what_becomes_unsafe_while_it_runs_is_loud_and_goes_on(stack: Stack, start: Start) -> None:
    server = start()
    app = make_app("seen", broker_url=server.url, result_backend=server.url)
    worker = put(stack, "worker", server.url)
    worker.wait_for_output(" ready.")

    def of_redis() -> list[Finding]:
        return [one for one in status(app).findings if one.about == "redis"]

    assert levels(of_redis()) == ["info"]
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    (unsafe, _) = of_redis()
    assert (unsafe.level, "allkeys-lru" in unsafe.what) == ("problem", True)
    put(stack, "beat", server.url, batchq_allow_unsafe_redis=True)
    worker.wait_for_output("maxmemory-policy is allkeys-lru")
    assert worker.exit_code is None
