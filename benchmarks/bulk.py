"""What a call costs that is sent with many others, against a loop of `delay`.

    python -m benchmarks.bulk [--rows 10000] [--rounds 5]

Rounds take turns in one process, on one Valkey that nobody reads: a loop of `delay`, the same rows
by `enqueue`, and with a key for each. Figures are medians; the ratios are of one round each.
Processor time is that of the process that sends. It ends with 1 where a requirement does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import redis

from benchmarks.capture import say
from benchmarks.services import NOBODY_ASKED, machine, valkey

FASTER = 10.0
"""At least so many times the calls a second."""
CHEAPER = 0.2
"""At most this share of the processor time."""


@dataclass(frozen=True)
class Sent:
    """What one call has taken, in seconds."""

    wall: float
    processor: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ |= NOBODY_ASKED
    with tempfile.TemporaryDirectory() as directory, valkey(Path(directory)) as url:
        os.environ["REDIS_URL"] = url
        say(f"{machine()}; {options.rows:,} rows, {options.rounds} rounds, medians")
        return report(rounds(options.rows, options.rounds, redis.Redis.from_url(url)))


def rounds(rows: int, number: int, server: Any) -> dict[str, list[Sent]]:
    # Here, so that the app reads its addresses from the environment.
    from benchmarks.app import ask

    text = "word " * 200
    task: Any = ask

    def loop() -> None:
        for row in range(rows):
            task.delay(f"{row} {text}")

    def enqueue(**options: Any) -> None:
        task.enqueue((f"{row} {text}" for row in range(rows)), in_broker=None, **options)

    ways: dict[str, Callable[[], None]] = {
        "a loop of delay": loop,
        "enqueue": enqueue,
        "enqueue, with a key": lambda: enqueue(key=lambda _: uuid.uuid4()),
    }
    found: dict[str, list[Sent]] = {name: [] for name in ways}
    for _ in range(number):
        for name, send in ways.items():
            found[name].append(timed(send, rows))
            if (queued := server.llen("celery")) != rows:
                raise RuntimeError(f"{queued:,} messages of {rows:,} came into the queue")
            server.delete("celery")
    return found


def timed(send: Callable[[], None], rows: int) -> Sent:
    began, used = time.perf_counter(), time.process_time()
    send()
    return Sent((time.perf_counter() - began) / rows, (time.process_time() - used) / rows)


def report(found: dict[str, list[Sent]]) -> int:
    loop, *_ = found.values()
    missed = 0
    say(f"\n{'':20} {'a second':>9} {'times':>6} {'µs of processor':>16} {'share':>6}")
    for name, each in found.items():
        pairs = list(zip(each, loop, strict=True))
        faster = median(base.wall / one.wall for one, base in pairs)
        share = median(one.processor / base.processor for one, base in pairs)
        missed += name == "enqueue" and (faster < FASTER or share > CHEAPER)
        rate, cost = 1 / median(one.wall for one in each), median(one.processor for one in each)
        say(f"{name:20} {rate:9,.0f} {faster:6.1f} {1e6 * cost:16.0f} {share:6.2f}")
    say(f"\nenqueue: at least {FASTER:g} times as fast, at {CHEAPER:g} of the processor time")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
