"""The tests that run often, again and again on a machine that is busy: which was ever red?

    python -m tests.steady --runs 10 -- -n 4 -m "not long"

Beside them a process burns a core. Each test that failed in any run is printed with all that was
said of it; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.harness import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("words", nargs="*", help="what pytest is told")
    options = parser.parse_args()
    ever = set[str]()
    with burning():
        for number in range(1, options.runs + 1):
            began = time.monotonic()
            last, red, told = run(options.words)
            print(f"run {number}: {last} ({time.monotonic() - began:.0f} s)", told, flush=True)
            ever |= red
    print(f"{options.runs} runs beside a process that burns a core; ever red: {len(ever)}")
    print("\n".join(sorted(ever)))
    return 1 if ever else 0


@contextmanager
def burning() -> Iterator[None]:
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        burner.kill()
        burner.wait()


def run(words: Sequence[str]) -> tuple[str, set[str], str]:
    """The last line of pytest, the tests that were red, and what it says of them."""
    argv = [sys.executable, "-m", "pytest", "--quiet", "-rfE", *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    last = output.rstrip().rpartition("\n")[2].strip("= ")
    if not done.returncode:
        return last, set(), ""
    red = set(re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE))
    said = re.search(r"^=+ (?:FAILURES|ERRORS) =+$.*", output, re.MULTILINE | re.DOTALL)
    return last, red or {f"pytest ended with {done.returncode}"}, "\n" + (said or [output])[0]


if __name__ == "__main__":
    sys.exit(main())
