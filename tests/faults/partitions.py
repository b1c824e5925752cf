"""Links that fail for long: each mode of the proxy, on each link, for 30 and for 120 seconds.

    python -m tests.faults.partitions [--seconds 30 120] [--only PATTERN] [--write]

The short ones are tests/test_partitions.py. With --write the table goes into docs/reliability.md.
Exits with 1 where a case was not as it should be.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from tests.conftest import FAST
from tests.faults.report import Table, write
from tests.harness import Emulator, ReservedPort, Server, Stack, talk_to


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.partitions", description=__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[30, 120])
    parser.add_argument("--only", default="", help="a regular expression for link, mode, seconds")
    parser.add_argument("--write", action="store_true", help="write the table to the documents")
    options = parser.parse_args()
    redis_port, emulator_port = ReservedPort(), ReservedPort()
    talk_to(redis_port, emulator_port)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(redis_port, Path(folder))
        emulator = Emulator(emulator_port, *FAST)
        emulator.start()
        stack = Stack(server, emulator, Path(folder))
        try:
            rows, good = play(stack, options.seconds, options.only)
        finally:
            stack.stop()
            emulator.stop()
            server.client.close()
            server.stop()
    found = table(rows, good)
    say(found.text())
    if options.write:
        write(found)
    return 0 if good else 1


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def play(stack: Stack, lengths: list[float], only: str) -> tuple[list[list[str]], bool]:
    # Here, for the app reads its addresses when it is imported.
    from tests.test_partitions import BROKEN, LINKS, check, links

    rows: list[list[str]] = []
    good = True
    with links(stack) as between:
        for link in LINKS:
            for mode in BROKEN:
                for seconds in lengths:
                    name = f"{link} {mode} {seconds:g}"
                    if not re.search(only, name):
                        continue
                    stack.emulator.reset()
                    between.sent, between.slowest = [], 0.0
                    try:
                        took, wrong = f"{check(between, link, mode, seconds=seconds):.1f} s", ""
                    except Exception as error:  # noqa: BLE001 each case is told, whatever it was
                        took, wrong = "-", f"{type(error).__name__}: {error}".split("\n")[0]
                        good = False
                    for proxy in (between.producer, between.worker, between.provider):
                        proxy.mode = "pass"
                    row = [link, mode, f"{seconds:g} s", f"{between.slowest:.1f} s", took, wrong]
                    say(" | ".join(row))
                    rows.append(row)
    return rows, good


def table(rows: list[list[str]], good: bool) -> Table:  # noqa: FBT001 what it says
    return Table(
        name="partitions",
        command="python -m tests.faults.partitions --write",
        summary=f"{len(rows)} cases; {'all' if good else 'not all'} of them: no task lost, each "
        "prompt billed once, `delay()` back within 15 s, all answers within 60 s of the healing.",
        head=("link", "how it fails", "for", "slowest `delay()`", "all answered after", "wrong"),
        rows=rows,
    )


if __name__ == "__main__":
    sys.exit(main())
