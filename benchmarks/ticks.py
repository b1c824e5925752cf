"""What a tick, and a look at everything, costs where much waits.

    python -m benchmarks.ticks [--waiting N] [--resuming N] [--batches N] [--rounds N]

Two journals on one Redis, a small one and one of that size, take turns. The waiting tasks have
their prompts in twenty lanes; the resuming ones are due: their messages were sent an hour ago, and
no worker has taken them; of the batches one in twenty is open. The figures are processor seconds of
whoever looks and of Redis together, medians over the rounds. Ends with 1 where a look at the large
journal takes more than its limit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from batchq.prompt import Lane, Outcome
from benchmarks.many_batches import app_of
from benchmarks.services import NOBODY_ASKED, flower, machine, page, processor_seconds, valkey
from tests.flower.scene import CHAT, DAY, HOUR, MINUTE, TICKETS, Scene
from tests.journals import LANE, Asked, capture

LIMIT = 0.2
"""Seconds of a processor. A tick comes every 15 seconds, and pages are asked for as often."""

LANES = [Lane(account="default", endpoint=CHAT, model=f"gpt-5.6-{at}") for at in range(20)]
SMALL = argparse.Namespace(waiting=1_000, resuming=50, batches=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--resuming", type=int, default=50_000)
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        os.environ["REDIS_URL"] = running.enter_context(valkey(Path(folder)))
        os.environ |= NOBODY_ASKED
        sides = [
            Side(running, Path(folder), prefix, size)
            for prefix, size in (("small", SMALL), ("large", options))
        ]
        took = {
            name: [[side.seconds(name) for side in sides] for _ in range(options.rounds)]
            for name in sides[0].looks
        }
    sys.exit(report(took, options))


def report(took: dict[str, list[list[float]]], size: argparse.Namespace) -> int:
    sys.stdout.write(
        f"{machine()}\n{size.waiting:,} waiting, {size.resuming:,} resuming and due, "
        f"{size.batches:,} batches; limit {LIMIT * 1000:.0f} ms\n\n"
        "| | small, ms | large, ms |\n|---|---|---|\n"
    )
    slow = False
    for name, rounds in took.items():
        small, large = (median(one[at] for one in rounds) for at in (0, 1))
        sys.stdout.write(f"| {name} | {small * 1000:.1f} | {large * 1000:.1f} |\n")
        slow = slow or large > LIMIT
    return int(slow)


class Side:
    """One journal, and those who look at it."""

    def __init__(
        self, running: ExitStack, folder: Path, prefix: str, size: argparse.Namespace
    ) -> None:
        from batchq.flow.flush import flush
        from batchq.flow.rescue import rescue
        from batchq.journal import journal_of
        from batchq.overview import status

        app = app_of(prefix)
        self.journal = journal_of(app)
        fill(self.journal, size)
        self.flower, url = running.enter_context(flower(prefix, folder))
        self.looks: dict[str, Callable[[], object]] = {
            "a rescue tick": lambda: rescue(app),
            "a flush tick": lambda: flush(app),
            "status": lambda: status(app),
            "Flower's first page, read anew": lambda: page(f"{url}?fresh=1"),
        }

    def seconds(self, name: str) -> float:
        before = self.spent()
        self.looks[name]()
        return self.spent() - before

    def spent(self) -> float:
        said = self.journal.store.redis.info("cpu")
        redis: float = said["used_cpu_user"] + said["used_cpu_sys"]
        return redis + time.process_time() + processor_seconds(self.flower)


def fill(journal: Any, size: argparse.Namespace) -> None:
    """Write what so many tasks leave: each as one that was really captured, under another id."""
    scene = Scene(journal)
    scene.closed(size.batches - size.batches // 20, over=7 * DAY)
    for _ in range(size.batches // 20):
        scene.opened(TICKETS, 50, age=HOUR, state="submitted", status="in_progress")
    now = journal.clock.now()
    for at, lane in enumerate(LANES):
        asked = capture(journal, b'{"model": "m", "messages": "' + b"x" * 900 + b'"}', lane=lane)
        journal.lanes.hold(lane)
        count = size.waiting // len(LANES)
        ids = (f"00000000-0000-4000-8000-{at:02}{number:010}" for number in range(count))
        for some in slices(ids):
            copy(journal, asked, some)
            waiting = dict.fromkeys(some, now - MINUTE)
            journal.store.redis.zadd(journal.store.key("waiting"), waiting)
            prompts = {f"{task_id}-0": now - MINUTE for task_id in some}
            journal.store.redis.zadd(journal.store.lane_keys(lane)[0], prompts)
    asked = capture(journal)
    journal.answers.add(LANE, [(asked.custom_ids[0], Outcome(status_code=200, body=b"{}"))])
    journal.resuming.sent([asked.task_id])
    ids = (f"00000000-0000-4000-8000-r{number:011}" for number in range(size.resuming))
    for some in slices(ids):
        copy(journal, asked, some)
        due = dict.fromkeys(some, now - HOUR)
        journal.store.redis.zadd(journal.store.key("resuming"), due)


def copy(journal: Any, asked: Asked, task_ids: Iterable[str]) -> None:
    keys = [journal.store.key(kind, asked.task_id) for kind in ("task", "bodies")]
    pipe = journal.store.redis.pipeline(transaction=False)
    for kind, key in zip(("task", "bodies"), keys, strict=True):
        value = journal.store.redis.dump(key)
        for task_id in task_ids if value is not None else ():
            pipe.restore(journal.store.key(kind, task_id), DAY, value)
    pipe.execute()


def slices(ids: Iterable[str]) -> Iterator[list[str]]:
    left = iter(ids)
    while some := list(islice(left, 1_000)):
        yield some


if __name__ == "__main__":
    main()
