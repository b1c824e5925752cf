"""The ground the other tests stand on."""

import os
import sys
from pathlib import Path

import pytest

from tests.harness import (
    MARK,
    Process,
    ReservedPort,
    Server,
    keys_without_end,
    left_running,
    wait_until,
)
from tests.living import group


def test_a_killed_server_has_its_data_when_it_starts_again(server: Server) -> None:
    """With appendfsync=everysec it lost a confirmed write now and then: one that comes while the
    file is being synced is written up to two seconds later.
    """
    server.client.config_set("appendfsync", "always")
    server.client.set("{batchq}:key", "value")
    server.kill()
    server.start()
    assert server.client.get("{batchq}:key") == "value"


def test_a_key_without_end_is_found_unless_it_is_documented(server: Server) -> None:
    server.client.set("{batchq}:kept", "value")
    server.client.set("{batchq}:ends", "value", ex=60)
    server.client.set("another application's", "value")
    assert keys_without_end(server.client) == ["{batchq}:kept"]
    assert keys_without_end(server.client, documented=["kept"]) == []


def test_a_process_left_behind_is_found(tmp_path: Path) -> None:
    """Even one that its parent forgot, in a session of its own."""
    script = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=False)"
    process = Process([sys.executable, "-c", script], name="parent", log=tmp_path / "log")
    process.wait()
    left = left_running(os.environ[MARK], but_for=[])
    process.stop()
    assert any("sleep 60" in line for line in left)
    assert not group(process.pid)


def test_what_never_happens_is_named(redis_url: str) -> None:
    with pytest.raises(AssertionError, match="still not: the moon is blue"):
        wait_until(lambda: False, description="the moon is blue", timeout=0.1)


def test_a_released_port_is_nobody_elses() -> None:
    """Flower listens seconds after it was given its port, and a test beside it took that one."""
    ports = [ReservedPort() for _ in range(3)]
    for port in ports:
        port.release()
    more = [ReservedPort() for _ in range(3)]
    assert len({port.number for port in ports + more}) == 6
    for port in more:
        port.release()


def test_a_start_that_gets_no_processor_is_not_late(tmp_path: Path) -> None:
    """A worker with three seconds of work to do until it was ready had thirty, and was not."""
    one = min(os.sched_getaffinity(0))
    work = f"import os; os.sched_setaffinity(0, [{one}]); sum(range(10**7)); print('done')"
    beside = f"import os; os.sched_setaffinity(0, [{one}])\nwhile True: pass"
    burning = [
        Process([sys.executable, "-S", "-c", beside], name="burns", log=tmp_path / f"burns{n}")
        for n in range(6)
    ]
    process = Process([sys.executable, "-S", "-c", work], name="works", log=tmp_path / "works")
    try:
        process.wait_for_output("done", timeout=0.5)
    finally:
        for each in [process, *burning]:
            each.kill()
