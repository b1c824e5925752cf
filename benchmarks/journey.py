"""What the way of a task costs the processor: its capture and its resume, against a plain task.

    python -m benchmarks.journey [--tasks 1500] [--rounds 4]

Processor seconds of the worker (its main process and its pool) and of Valkey, which hold on a busy
machine where a wall clock says little. Rounds take turns on one worker; the figures are medians,
the ratios are of one round each. Then how often a process of the pool waits for Redis. It ends with
1 where a requirement does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import redis

from benchmarks.capture import Bench, say
from benchmarks.services import NOBODY_ASKED, machine, processor_seconds, valkey, worker

MOST = {"capture": 2.9, "resume": 3.2}
"""What each may cost the worker, against a task that does nothing with the same payload: what holds
on a quiet machine, where that task is cheapest.
"""

MOST_TRIPS = {"capture": 2, "resume": 2}
"""How often each may wait for Redis beside what Celery does for a task that ends likewise."""

ENDS_LIKE = {"capture": "ends with Ignore", "resume": "does nothing"}


@dataclass(frozen=True)
class Spent:
    """Processor seconds, as from some moment on."""

    worker: float
    valkey: float

    def __sub__(self, before: Spent) -> Spent:
        return Spent(self.worker - before.worker, self.valkey - before.valkey)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    os.environ |= NOBODY_ASKED
    with tempfile.TemporaryDirectory() as directory, valkey(Path(directory)) as url:
        os.environ["REDIS_URL"] = url
        say(f"{machine()}; {options.tasks:,} tasks, {options.rounds} rounds, medians")
        words = ("--concurrency", "2", "--queues", "idle")
        with worker("benchmarks.app", Path(directory), *words) as pid:
            missed = report(rounds(options.tasks, options.rounds, url, pid), options.tasks)
        os.environ["BENCHMARK_TRIPS"] = str(counted := Path(directory) / "trips")
        with worker("benchmarks.app", Path(directory), *words):
            found = Bench(tasks := 100, lambda: counted.stat().st_size).rounds(1)
        return 1 if report_trips(found, tasks) or missed else 0


def rounds(tasks: int, number: int, url: str, pid: int) -> dict[str, list[Spent]]:
    server: Any = redis.Redis.from_url(url)

    def spent() -> Spent:
        info = server.info("cpu")
        return Spent(processor_seconds(pid), info["used_cpu_user"] + info["used_cpu_sys"])

    return Bench(tasks, spent).rounds(number)


def report(found: dict[str, list[Spent]], tasks: int) -> int:
    plain = found["does nothing"]
    missed = 0
    say(f"\n{'ms a task':20} {'worker':>8} {'Valkey':>8} {'ratio':>8} {'limit':>8}")
    for name, each in found.items():
        ratio = median(one.worker / base.worker for one, base in zip(each, plain, strict=True))
        most = MOST.get(name)
        missed += most is not None and ratio > most
        worker_ms, valkey_ms = (
            1000 * median(getattr(one, part) for one in each) / tasks
            for part in ("worker", "valkey")
        )
        limit = "" if most is None else f"{most:.2f}"
        say(f"{name:20} {worker_ms:8.2f} {valkey_ms:8.2f} {ratio:8.2f} {limit:>8}")
    return missed


def report_trips(found: dict[str, list[int]], tasks: int) -> int:
    """In a run of their own: to count them costs processor time. An attempt to connect, or a look
    whether a connection is alive, may be among them.
    """
    missed = 0
    say(f"\n{'trips to Redis':20} {'pool':>8} {'own':>8} {'limit':>8}")
    for name, (trips,) in found.items():
        own = (trips - found[ENDS_LIKE[name]][0]) / tasks if name in ENDS_LIKE else 0
        most = MOST_TRIPS.get(name)
        missed += most is not None and round(own, 1) > most
        limit = "" if most is None else str(most)
        say(f"{name:20} {trips / tasks:8.2f} {own:8.2f} {limit:>8}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
