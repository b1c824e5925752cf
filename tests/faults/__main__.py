"""The whole sweep: every side effect cut off, on each of its sides, by each who may die.

    python -m tests.faults [--only PATTERN] [--jobs N] [--seed N] [--write]

Prints a line for each case and one table, and with --write puts that into docs/reliability.md.
Exits with 1 where a case was not as it should be.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.catalogue import Verdict, every_case
from tests.faults.report import write
from tests.faults.run import ends, play, table


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, ends)
    cases = [case for case in every_case() if re.search(options.only, case.name)]
    random.Random(options.seed).shuffle(cases)
    folder = Path(tempfile.mkdtemp(prefix="batchq-faults-"))
    began = time.monotonic()
    verdicts: list[Verdict] = []
    for verdict in play(cases, options.jobs, folder):
        verdicts.append(verdict)
        print(f"{len(verdicts):3}/{len(cases)} {_line(verdict)}", flush=True)
    found = table(verdicts, options.seed, time.monotonic() - began)
    print(found.text())
    if options.write:
        write(found)
    if all(verdict.good for verdict in verdicts):
        shutil.rmtree(folder)
        return 0
    print(f"the logs are in {folder}")
    return 1


def _line(verdict: Verdict) -> str:
    word = "good" if verdict.good else "BAD "
    times = f"{verdict.recovery:5.1f} s of {verdict.seconds:5.1f} s"
    return f"{word} {times}  {verdict.case.name}  {'; '.join(verdict.wrong)}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", help="a regular expression for the cases' names")
    parser.add_argument("--jobs", type=int, default=3, help="how many benches, side by side")
    parser.add_argument("--seed", type=int, default=1, help="the order of the cases")
    parser.add_argument("--write", action="store_true", help="write the table to the documents")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
