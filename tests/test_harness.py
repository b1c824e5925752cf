"""The ground the other tests stand on."""

import os
import sys
from pathlib import Path

import pytest

from tests.harness import (
    MARK,
    Process,
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
