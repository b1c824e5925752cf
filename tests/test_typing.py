"""mypy and pyright see a task's own signature and result: tests/typing/api.py says how."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.harness import ROOT


@pytest.mark.parametrize(
    "checker",
    [
        ("mypy", "--strict", "--warn-unused-ignores"),
        ("pyright", "--warnings", "--pythonpath", sys.executable),
    ],
    ids=lambda words: words[0],
)
def test_a_strict_type_checker_agrees(checker: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", *checker, "tests/typing/api.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
