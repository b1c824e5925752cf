"""A journal as it looks after weeks of work: written into Redis directly, for pages to show."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batchq.journal import Journal
from batchq.prompt import Lane
from tests.journals import capture_many

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
TICKETS = Lane(account="default", endpoint=CHAT, model="gpt-5.6-luna")
NIGHTLY = Lane(account="default", endpoint=CHAT, model="gpt-5.6-luna", label="nightly")
REPORTS = Lane(account="research", endpoint=RESPONSES, model="gpt-5.6")
VECTORS = Lane(account="default", endpoint=EMBEDDINGS, model="text-embedding-3-small")
LANES = (TICKETS, NIGHTLY, REPORTS, VECTORS)
TASKS = {
    TICKETS: "shop.tickets.classify",
    NIGHTLY: "shop.catalogue.describe",
    REPORTS: "research.summarize",
    VECTORS: "shop.search.embed",
}
#: Nano-dollars that a prompt costs, about.
PRICES = {TICKETS: 210_000, NIGHTLY: 480_000, REPORTS: 3_400_000, VECTORS: 6_000}


@dataclass
class Scene:
    """Writes what looks as if it had happened. The same seed writes the same."""

    journal: Journal
    seed: int = 7

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._now = self.journal.clock.now()
        self._pipe = self.journal.store.redis.pipeline(transaction=False)
        self._count = 0

    def closed(self, count: int, *, over: int = 7 * DAY) -> list[str]:
        """So many batches that are over, the newest a few minutes ago."""
        ids = [self._close(at, over * at // count) for at in range(count)]
        self._send()
        return ids

    def _close(self, number: int, ago: int) -> str:
        lane = LANES[number % len(LANES)]
        status = self._random.choices(
            ["completed", "expired", "cancelled", "failed"], [94, 2, 2, 2]
        )[0]
        lines = self._random.randint(20, 4000) if status != "failed" else 50
        failed = 0 if self._random.random() < 0.7 else self._random.randint(1, 1 + lines // 50)
        took = round(self._random.lognormvariate(0, 0.5) * 70 * MINUTE)
        finished = self._now - ago - 5 * MINUTE
        done = lines if status == "completed" else 0 if status == "failed" else lines // 2
        failed = min(failed, done)
        price = PRICES[lane] * (done - failed)
        codes = {"invalid_prompt": [failed, ["0" * 32 + "-0"]]} if failed else {}
        fields: dict[str, Any] = {
            **self._sealed(lane, lines, finished - took - 20_000),
            **self._sent(finished - took),
            "state": "closed",
            "status": status,
            "completed": done - failed,
            "failed": failed,
            "finished_at": finished,
            "closed_at": finished + 8_000,
            "answered": done,
            "failed_rows": failed,
            "codes": json.dumps(codes),
            "input_tokens": 420 * done,
            "output_tokens": 96 * done,
            "cost": price,
            "live_cost": 2 * price,
        }
        if status == "failed":
            fields["note"] = "token_limit_exceeded: too many tokens are queued"
        batch_id = self._write(fields)
        self._pipe.zadd(self.journal.store.key("closed"), {batch_id: finished + 8_000})
        return batch_id

    def opened(self, lane: Lane, lines: int, *, age: int, **fields: Any) -> str:
        """One batch that is not over, sealed ``age`` ago."""
        known = self._sealed(lane, lines, self._now - age)
        if fields.get("state") not in {None, "sealed", "uploaded"}:
            known |= self._sent(self._now - age + 20_000)
        batch_id = self._write(known | fields)
        self._pipe.zadd(self.journal.store.key("batches"), {batch_id: self._now + DAY})
        self._send()
        return batch_id

    def _sealed(self, lane: Lane, lines: int, at: int) -> dict[str, Any]:
        return {
            "lane": lane.name,
            "state": "sealed",
            "lines": lines,
            "bytes": 1400 * lines,
            "tokens": 430 * lines,
            "sealed_at": at,
            "tasks": json.dumps({TASKS[lane]: lines}),
        }

    def _sent(self, at: int) -> dict[str, Any]:
        provider_id = f"batch_{self._random.getrandbits(128):032x}"
        return {"submitted_at": at, "provider_id": provider_id, "expires_at": at + DAY}

    def _write(self, fields: dict[str, Any]) -> str:
        self._count += 1
        batch_id = f"{self._random.getrandbits(64):016x}"
        key = self.journal.store.batch_keys(batch_id)[0]
        self._pipe.hset(key, mapping=fields)
        self._pipe.pexpire(key, 7 * DAY)
        if self._count % 500 == 0:
            self._send()
        return batch_id

    def _send(self) -> None:
        self._pipe.execute()

    def waiting(self, lane: Lane, count: int, *, oldest: int) -> None:
        """Prompts that wait in a lane, the first since ``oldest``."""
        asked = capture_many(self.journal, count, lane=lane)
        key = self.journal.store.lane_keys(lane)[0]
        first = {asked[0].custom_ids[0]: self._now - oldest}
        self.journal.store.redis.zadd(key, first)

    def sums(self) -> None:
        """Sums of each lane, as if the closed batches had been added up."""
        for lane in LANES:
            cost = PRICES[lane] * 61_000
            sums = {"batches": 60, "prompts": 61_000, "cost": cost, "live_cost": 2 * cost}
            self._pipe.hset(self.journal.store.key("tally", lane.name), mapping=sums)
            self._pipe.zadd(self.journal.store.key("tallied"), {lane.name: self._now})
            today = self.journal.tallies._day(_today(self._now))
            for name, value in sums.items():
                self._pipe.hincrby(today, name, value // 30)
        counters = {"captured": 254_180, "answered": 244_000}
        self._pipe.hset(self.journal.store.key("counters"), mapping=counters)
        self._send()

    def dead(self, task_id: str) -> None:
        """A task that killed its workers three times."""
        self._pipe.zadd(self.journal.store.key("dead"), {task_id: self._now - 40 * MINUTE})
        self._send()


def _today(now: int) -> Any:
    from batchq.journal.tallies import _date

    return _date(now)


def busy(journal: Journal) -> Scene:
    """Something of everything."""
    scene = Scene(journal)
    journal.beat.note()
    scene.waiting(TICKETS, 148, oldest=9 * MINUTE)
    scene.waiting(NIGHTLY, 60, oldest=3 * HOUR)
    scene.waiting(REPORTS, 12, oldest=2 * MINUTE)
    journal.lanes.hold(NIGHTLY)
    scene.opened(TICKETS, 3200, age=50 * MINUTE, **_running(1900, 12))
    scene.opened(REPORTS, 410, age=20 * MINUTE, **_running(35, 0))
    scene.opened(VECTORS, 9000, age=3 * MINUTE, state="submitted", status="validating")
    scene.opened(TICKETS, 800, age=15_000, state="uploaded")
    scene.opened(NIGHTLY, 1500, age=2 * HOUR, **_running(700, 3), cancel_at=1)
    scene.closed(236)
    scene.sums()
    return scene


def _running(completed: int, failed: int) -> dict[str, Any]:
    return {
        "state": "submitted",
        "status": "in_progress",
        "completed": completed,
        "failed": failed,
    }


def lanes() -> Iterator[Lane]:
    yield from LANES
