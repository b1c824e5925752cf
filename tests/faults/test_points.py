"""The points are where the table says, cost nothing, and do what they are armed to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from batchq.common.points import point
from tests.faults.catalogue import BACK, CELERY, POINTS, STORIES, every_case
from tests.harness import ROOT, wait_until


def test_each_point_in_the_code_is_in_the_sweep_once() -> None:
    code = "".join(path.read_text() for path in (ROOT / "batchq").rglob("*.py"))
    placed = re.findall(r'\bpoint\("([\w.]+)"\)', code)
    assert sorted(placed) == sorted(one.name for one in POINTS)


def test_each_case_is_told_apart_and_has_a_story() -> None:
    names = [case.name for case in every_case()]
    assert len(set(names)) == len(names)
    assert {one.story for one in (*POINTS, *BACK, *CELERY)} == set(STORIES) - {"plain"}


def test_a_point_that_is_not_armed_costs_nothing() -> None:
    """A microsecond would be a hundred times too much; the machine may be busy."""
    times = timeit.repeat(lambda: point("create.call"), number=10_000, repeat=5)
    assert min(times) / 10_000 < 1e-6


ASK = """
from batchq.common.points import point
for _ in range(3):
    point("other.call")
    point("some.call")
    print("went on", flush=True)
"""


def run(what: str, proof: Path, nth: int = 2) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ASK],
        env=os.environ | {"BATCHQ_CRASH_AT": f"some.call:{nth}:{what}:{proof}"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_kill_at_the_second_hit(tmp_path: Path) -> None:
    process = run("kill", tmp_path / "proof")
    assert process.communicate(timeout=30)[0].split("\n") == ["went on", ""]
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "proof").read_text().split()[0] == str(process.pid)


def test_a_hit_that_does_not_come_leaves_no_proof(tmp_path: Path) -> None:
    process = run("kill", tmp_path / "proof", nth=4)
    assert process.communicate(timeout=30)[0].count("went on") == 3
    assert process.returncode == 0
    assert not (tmp_path / "proof").exists()


def test_stop_until_it_may_go_on(tmp_path: Path) -> None:
    process = run("stop", tmp_path / "proof")
    try:
        state = Path(f"/proc/{process.pid}/stat")
        wait_until(
            lambda: state.read_text().rpartition(")")[2].split()[0] == "T",
            description="it is stopped",
        )
        assert (tmp_path / "proof").exists()
    finally:
        os.killpg(process.pid, signal.SIGCONT)
    assert process.communicate(timeout=30)[0].count("went on") == 3


def test_wait_until_the_proof_is_taken_away(tmp_path: Path) -> None:
    process = run("wait", tmp_path / "proof")
    wait_until((tmp_path / "proof").exists, description="it waits")
    assert process.poll() is None
    (tmp_path / "proof").unlink()
    assert process.communicate(timeout=30)[0].count("went on") == 3


@pytest.mark.parametrize("text", ["some.call", "some.call:x:kill:/tmp/y"])
def test_an_order_that_cannot_be_read_is_said_at_the_start(text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import batchq.common.points"],
        env=os.environ | {"BATCHQ_CRASH_AT": text},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "ValueError" in done.stderr
