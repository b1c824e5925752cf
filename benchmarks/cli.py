"""What the commands add to the start of `celery`: to each start, and to that of a command.

    python -m benchmarks.cli [--rounds 9]

Two pairs of processes take turns: `celery --version` without Batchq's entry point and with it, and
one of Celery's own commands beside one of Batchq's, both on an app that uses Batchq. What counts is
the time of a processor. The requirement is less than 0.2 s more; it fails where that does not hold.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

from benchmarks.services import machine

MOST = 0.2

#: Celery as it would be without Batchq's entry point.
WITHOUT = """
import importlib.metadata as metadata
found = metadata.entry_points
metadata.entry_points = lambda **by: [one for one in found(**by) if one.name != "batchq"]
from celery.__main__ import main
main()
"""
CELERY = [sys.executable, "-m", "celery"]
ON_APP = [*CELERY, "--app", "benchmarks.app"]

PAIRS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "each start of `celery`": (
        [sys.executable, "-c", WITHOUT, "--version"],
        [*CELERY, "--version"],
    ),
    "`batchq status` beside Celery's own `result`": (
        [*ON_APP, "result", "--help"],
        [*ON_APP, "batchq", "status", "--help"],
    ),
}


def report(line: str, *, end: str = "\n") -> None:
    sys.stdout.write(line + end)
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    report(machine(), end="\n\n")
    report("| | without | with | more | ratio |")
    report("|---|---|---|---|---|")
    failed = False
    for name, pair in PAIRS.items():
        rounds = [[seconds(argv) for argv in pair] for _ in range(options.rounds)]
        without, with_it = (median(one[at] for one in rounds) for at in (0, 1))
        more = median(after - before for before, after in rounds)
        ratio = median(after / before for before, after in rounds)
        report(f"| {name} | {without:.2f} s | {with_it:.2f} s | {more:.3f} s | {ratio:.2f} |")
        failed = failed or more >= MOST
    if failed:
        raise SystemExit(f"more than {MOST} s")


def seconds(argv: Sequence[str]) -> float:
    """Seconds of a processor that a program takes."""
    environment = {"REDIS_URL": "redis://127.0.0.1:1/0", "OPENAI_API_KEY": "unused", **os.environ}
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, argv
    process.returncode = 0
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
