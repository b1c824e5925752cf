"""Thousands of tasks, and every few seconds one of the processes dies or sleeps.

    python -m tests.chaos [--tasks N] [--seed N] [--kills N] [--write]

The seed decides what is sent, what is killed and when; the moments count progress, not seconds, so
the same seed replays the same decisions. Exits with 1 where something that is promised is broken,
and keeps the directory with all logs.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.chaos.run import Chaos, Options, prepare


def main() -> int:
    given = _options()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    directory = Path(tempfile.mkdtemp(prefix="batchq-chaos-"))
    options = Options(
        tasks=given.tasks,
        kills=given.kills if given.kills is not None else max(5, given.tasks // 200),
        seed=seed,
        workers=given.workers,
        beats=given.beats,
        directory=directory,
    )
    _log_to(directory / "chaos.log")
    # A supervisor that is ended ends what it has started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    print(
        f"{options.tasks:,} tasks, {options.kills} kills and pauses, seed {seed}; "
        f"logs in {directory}",
        flush=True,
    )
    broken = True
    try:
        broken = _run(options, write=given.write)
    finally:
        if not broken and not given.keep:
            shutil.rmtree(directory, ignore_errors=True)
    return int(broken)


def _run(options: Options, *, write: bool) -> bool:
    chaos = Chaos(options)
    prepare(chaos)
    # After `prepare`: they import the app, which reads the environment.
    from tests.chaos.report import report

    try:
        chaos.run()
        outcome = report(chaos, seconds=time.time() - chaos.started)
    finally:
        with suppress(Exception):
            chaos.app.close()
        chaos.fleet.stop()
    print(outcome.text())
    if write and not outcome.broken:
        outcome.write()
    return outcome.broken


def _log_to(path: Path) -> None:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger: Any = logging.getLogger("chaos")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--tasks", type=int, default=20_000)
    add("--seed", type=int, help="usual: another one each time; it is printed")
    add("--kills", type=int, help="kills and pauses; usual: one for each 200 tasks")
    add("--workers", type=int, default=3, help="every second one runs threads")
    add("--beats", type=int, default=2)
    add("--keep", action="store_true", help="keep the logs where all is well, too")
    add("--write", action="store_true", help="write the table to docs/reliability.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
