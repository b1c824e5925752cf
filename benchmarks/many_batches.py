"""What thousands of batches cost those who look: as ratios to the same beside a few.

    python -m benchmarks.many_batches [--batches 10000] [--rounds 7]

Two journals on one Redis, with ten closed batches and with so many, take turns: a webhook is
handled, metrics are scraped by one who has not read them before, Flower reads the journal and shows
its first page, and one that is sorted from what it has read. The ratios are medians over the
rounds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.services import NOBODY_ASKED, flower, machine, page, valkey
from tests import webhooks
from tests.flower.scene import DAY, TICKETS, Scene

FEW = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        os.environ["REDIS_URL"] = running.enter_context(valkey(Path(folder)))
        os.environ["OPENAI_WEBHOOK_SECRET"] = webhooks.SECRET
        os.environ |= NOBODY_ASKED
        sides = [
            Side(running, Path(folder), prefix, count)
            for prefix, count in (("few", FEW), ("many", options.batches))
        ]
        took = {
            name: [
                [seconds(look) for look in (side.looks[name] for side in sides)]
                for _ in range(options.rounds)
            ]
            for name in sides[0].looks
        }
    heads = f"| | {FEW} batches, ms | {options.batches:,}, ms | ratio |"
    sys.stdout.write(f"{machine()}\n\n{heads}\n|---|---|---|---|\n")
    for name, rounds in took.items():
        few, many = (median(one[at] for one in rounds) * 1000 for at in (0, 1))
        ratio = median(many / few for few, many in rounds)
        sys.stdout.write(f"| {name} | {few:.1f} | {many:.1f} | {ratio:.2f} |\n")


class Side:
    """One journal, and those who look at it."""

    def __init__(self, running: ExitStack, folder: Path, prefix: str, count: int) -> None:
        from prometheus_client import CollectorRegistry, generate_latest

        from batchq.journal import journal_of
        from batchq.metrics import collector

        app = app_of(prefix)
        self.app, journal = app, journal_of(app)
        self.scene = Scene(journal)
        self.scene.closed(count)
        self.number = 0

        def scrape() -> None:
            """By a collector of its own: a second scrape of one would have its last reading."""
            registry = CollectorRegistry()
            registry.register(collector(app))
            assert b"batchq_up 1.0" in generate_latest(registry)

        _, url = running.enter_context(flower(prefix, folder))
        self.looks: dict[str, Callable[[], object]] = {
            "a webhook is handled": self.webhook,
            "metrics are scraped": scrape,
            "Flower's first page, read anew": lambda: page(f"{url}?fresh=1"),
            "one sorted by what was saved": lambda: page(f"{url}?sort=-saved"),
        }

    def webhook(self) -> None:
        """One for a batch that was not told of before."""
        from batchq.webhook import handle

        body = webhooks.event(self.open)
        assert handle(body, webhooks.signed(body), app=self.app).word == "woken"

    @property
    def open(self) -> str:
        self.number += 1
        journal, provider_id = self.scene.journal, f"batch_open_{self.number}"
        fields = {"state": "submitted", "provider_id": provider_id, "status": "in_progress"}
        batch_id = self.scene.opened(TICKETS, 10, age=DAY // 24, **fields)
        journal.store.redis.set(journal.store.provider_key(provider_id), batch_id)
        return provider_id


def app_of(prefix: str) -> Any:
    from benchmarks.app import made

    return made(prefix)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
