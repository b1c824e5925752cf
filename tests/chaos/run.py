"""One run: start everything, carry out the plan, wait until all is resolved, hold the books."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.chaos import work
from tests.chaos.books import Books
from tests.chaos.check import users_messages
from tests.chaos.events import VARIABLE, Reader
from tests.chaos.fleet import Fleet, Ports
from tests.chaos.plan import Decision, plan
from tests.chaos.work import Item, Unit, task_id
from tests.harness import ReservedPort, wait_until

logger = logging.getLogger("chaos")

#: Opens nothing; no log may hold it.
KEY = "sk-chaos-canary-opens-nothing"
_IDLE = 16.0
"""Seconds without any progress after which the producer looks for what Celery has lost."""
_GIVE_UP = 180.0
"""Seconds without any progress after which what is missing counts as lost."""
_QUIET = 120.0


@dataclass(kw_only=True)
class Options:
    tasks: int
    kills: int
    seed: int
    workers: int
    beats: int
    directory: Path


@dataclass
class Memory:
    """The resident memory of each worker process, over its life."""

    samples: dict[int, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    def sample(self, pid: int) -> None:
        kilobytes = _resident(pid)
        if kilobytes:
            self.samples[pid].append((time.monotonic(), kilobytes))

    def growth(self, *, least: float) -> tuple[int, int] | None:
        """Of the process that grew most, its size after a quarter of its life and at the end (kB).

        Of those that lived for ``least`` seconds.
        """
        grown: list[tuple[int, int]] = []
        for samples in self.samples.values():
            first, last = samples[0][0], samples[-1][0]
            if last - first >= least:
                settled = next(size for at, size in samples if at >= first + (last - first) / 4)
                grown.append((settled, samples[-1][1]))
        return max(grown, key=lambda pair: pair[1] / pair[0], default=None)


def _resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(fields.get("VmRSS", "0").split()[0])


class Chaos:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.directory = options.directory
        self.units = list(work.units(options.tasks, options.seed))
        self.items: dict[int, Item] = {i.number: i for unit in self.units for i in unit.items}
        self.unit_of: dict[int, Unit] = {i.number: unit for unit in self.units for i in unit.items}
        self.books = Books()
        self.memory = Memory()
        #: What Celery has lost, and the producer sent again, by what it was.
        self.sent_again: dict[str, list[int]] = defaultdict(list)
        ports = Ports(ReservedPort(), ReservedPort())
        self.redis_url = f"redis://127.0.0.1:{ports.valkey.number}/0"
        self.provider_url = f"http://127.0.0.1:{ports.emulator.number}/v1"
        self.environment = {
            "REDIS_URL": self.redis_url,
            "OPENAI_BASE_URL": self.provider_url,
            "OPENAI_API_KEY": KEY,
            "CHAOS_SEED": str(options.seed),
            VARIABLE: str(self.directory / "events"),
        }
        self.fleet = Fleet(self.directory, environment=self.environment, ports=ports)
        self.decisions: list[Decision] = []
        self.started = time.time()

    @property
    def app(self) -> Any:
        # Here, because it reads the environment when it is imported.
        from tests.chaos.app import app

        return app

    def run(self) -> None:
        """Everything until nothing is open any more."""
        from tests.chaos import app

        self.decisions = plan(
            seed=self.options.seed,
            kills=self.options.kills,
            progress=2 * len(self.items),
            workers=self.options.workers,
            beats=self.options.beats,
            lease=app.LEASE,
        )
        self.started = time.time()
        self.fleet.start(
            workers=self.options.workers, beats=self.options.beats, tasks=self.options.tasks
        )
        reader = Reader(self.directory / "events")
        try:
            self._until_resolved(reader)
            self._until_quiet()
            self.books.add(reader.new())
        finally:
            reader.close()

    # Until all is resolved

    def _until_resolved(self, reader: Reader) -> None:
        progressed = looked = time.monotonic()
        every_second = _Every(1, self._sample)
        every_few = _Every(5, self._show)

        def resolved() -> bool:
            nonlocal progressed, looked
            before = self.books.progress
            self.books.add(reader.new())
            now = time.monotonic()
            if self.books.progress > before:
                progressed = looked = now
            while self.decisions and self.decisions[0].at <= self.books.progress:
                self.fleet.carry_out(self.decisions.pop(0))
            self.fleet.tend()
            every_second()
            every_few()
            if now - looked > _IDLE and self.fleet.calm and not self.fleet.producing:
                looked = now
                self._send_again()
            return len(self.books.returned) == len(self.items) or now - progressed > _GIVE_UP

        wait_until(resolved, description="all is resolved", timeout=7200, every=0.1)
        self._show()

    def _sample(self) -> None:
        for pid in self.fleet.worker_pids():
            self.memory.sample(pid)

    def _show(self) -> None:
        books, seconds = self.books, int(time.time() - self.started)
        line = (
            f"{seconds // 60}:{seconds % 60:02} {len(books.returned):,} of {len(self.items):,} "
            f"resolved, {len(books.begun):,} begun, "
            f"{len(self.fleet.disturbances)} of {self.options.kills} kills and pauses"
        )
        begin, end = ("\r", "") if sys.stdout.isatty() else ("", "\n")
        sys.stdout.write(f"{begin}{line}{end}")
        sys.stdout.flush()

    # What Celery has lost

    def _send_again(self) -> None:
        """As a careful user: what never came to a worker is sent again, under the same ids."""
        from tests.chaos.producer import send_surely

        units: dict[int, Unit] = {}
        for number in sorted(self.items.keys() - self.books.returned.keys()):
            why = self._lost_by_celery(number)
            if why is None:
                continue
            logger.info("task %d was lost by Celery: %s", number, why)
            self.sent_again[why].append(number)
            if why == "first message":
                unit = self.unit_of[number]
                units[unit.items[0].number] = unit
            else:
                self._send_one(number)
        for unit in units.values():
            send_surely(unit)

    def _lost_by_celery(self, number: int) -> str | None:
        """Why a task will never go on by itself and Batchq has no part in it; None where it has."""
        unit, known = self.unit_of[number], self._is_known(number)
        is_body = unit.is_chord and number == unit.items[-1].number
        if is_body:
            members = [item.number for item in unit.items[:-1]]
            complete = all(member in self.books.returned for member in members)
            begun = number in self.books.begun
            # A plain body that was begun is Celery's to deliver again.
            return "chord" if complete and not known and not begun else None
        if not known and number not in self.books.begun:
            return "first message"
        if self._state(number) == "RETRY" and not self._is_under_way(number):
            return "retry"
        return None

    def _is_known(self, number: int) -> bool:
        return bool(self._client().exists(f"{{batchq}}:task:{task_id(self.options.seed, number)}"))

    def _is_under_way(self, number: int) -> bool:
        """True where Batchq has a task's message, or a run of it is going on."""
        key = f"{{batchq}}:task:{task_id(self.options.seed, number)}"
        return any(self._client().hmget(key, "message", "run", "next"))

    def _state(self, number: int) -> str:
        meta = self.app.backend.get_task_meta(task_id(self.options.seed, number))
        return str(meta["status"])

    def _send_one(self, number: int) -> None:
        """Send a chord's body with the results of its members, or the retry of a task."""
        from tests.chaos.producer import signature

        unit = self.unit_of[number]
        made = signature(self.items[number])
        if unit.is_chord and number == unit.items[-1].number:
            expected = work.expected(self.options.seed, unit)
            members = [expected[item.number] for item in unit.items[:-1]]
            made.apply_async((members,))
        else:
            made.apply_async(retries=1)

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url, decode_responses=True)

    # Until nothing is open

    def _until_quiet(self) -> None:
        """Wait for what comes after the last result: links, second deliveries, files to delete."""

        def quiet() -> bool:
            self.fleet.tend()
            return self.fleet.calm and self._is_quiet()

        try:
            wait_until(quiet, description="nothing is open", timeout=_QUIET, every=0.3)
        except AssertionError as error:
            logger.info("%s", error)

    def _is_quiet(self) -> bool:
        from batchq.overview import status

        now = status(self.app)
        ours = now.waiting or now.batches or now.tasks_waiting or now.tasks_resuming
        with self._client() as client:
            return not ours and not users_messages(client)


class _Every:
    """Calls something at most every so many seconds."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._seconds, self._call, self._due = seconds, call, 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._seconds
            self._call()


def prepare(chaos: Chaos) -> None:
    """This process is a producer too, and reads results: it needs the same environment."""
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "BATCHQ_"))]:
        del os.environ[name]
    os.environ.update(chaos.environment)
