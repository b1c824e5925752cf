"""The processes of a run: started, killed, paused, and started again by their supervisor."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.chaos.plan import Decision, Target
from tests.harness import Process, ReservedPort, Server
from tests.living import group

logger = logging.getLogger("chaos")

APP = "tests.chaos.app"
_BACK_OFF = 1.0
_POOLS = (("prefork", 2), ("threads", 4), ("prefork", 1))


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One decision as it was carried out. ``until`` is when its victim was back, or went on."""

    decision: Decision
    at: float
    until: float
    pids: frozenset[int]

    def hit(self, pid: int, *, since: float, until: float) -> bool:
        """True where it took ``pid`` out of its work between two moments."""
        return pid in self.pids and self.at <= until and since <= self.until


@dataclass(kw_only=True)
class Ward:
    """One process under supervision. ``due`` is when it is started, ``wakes`` when it goes on."""

    name: str
    target: Target
    launch: Callable[[], Process]
    process: Process | None = None
    due: float | None = None
    wakes: float | None = None
    exits: list[int] = field(default_factory=list[int])
    finished: bool = False

    def start(self) -> None:
        self.process, self.due, self.wakes = self.launch(), None, None

    @property
    def calm(self) -> bool:
        return self.finished or (self.due is None and self.wakes is None)

    @property
    def living(self) -> set[int]:
        """It and its children, unless it is down."""
        if self.process is None or self.due is not None or self.finished:
            return set()
        return set(group(self.process.pid))

    def tend(self, now: float) -> None:
        """Start what is to be back, wake what has slept, and see what has ended by itself."""
        if self.due is not None:
            if now >= self.due:
                self.start()
        elif self.wakes is not None and now >= self.wakes:
            self.wake()
        elif self.process is not None and not self.finished:
            self._see(self.process.exit_code, now)

    def _see(self, code: int | None, now: float) -> None:
        if code == 0 and self.target == "producer":
            self.finished = True
        elif code is not None:
            self.exits.append(code)
            logger.info("%s ended by itself with %d", self.name, code)
            self.due = now + _BACK_OFF

    def wake(self) -> None:
        self.wakes = None
        if self.process is not None:
            self.process.resume()


class Fleet:
    def __init__(self, directory: Path, *, environment: Mapping[str, str], ports: Ports) -> None:
        self.directory = directory
        self.environment = environment
        self.ports = ports
        self.wards: list[Ward] = []
        self.disturbances: list[Disturbance] = []
        self.skipped: list[Decision] = []

    def start(self, *, workers: int, beats: int, tasks: int) -> None:
        self._add("valkey", "valkey", self._valkey)
        self._add("emulator", "emulator", self._emulator)
        for number in range(workers):
            self._add(f"worker{number}", "worker", partial(self._worker, number))
        for number in range(beats):
            self._add(f"beat{number}", "beat", partial(self._beat, number))
        self._add("producer", "producer", partial(self._producer, tasks))

    def _add(self, name: str, target: Target, launch: Callable[[], Process]) -> None:
        ward = Ward(name=name, target=target, launch=launch)
        self.wards.append(ward)
        ward.start()

    # The programs

    def _valkey(self) -> Process:
        folder = self.directory / "valkey"
        folder.mkdir(exist_ok=True)
        # What the server has said yes to is on disk: else a kill may take back what it told.
        return Server(self.ports.valkey, folder, "--appendfsync", "always")

    def _emulator(self) -> Process:
        argv = [sys.executable, "-m", "batchq.emulator"]
        argv += ["--port", str(self.ports.emulator.release())]
        argv += ["--data", str(self.directory / "emulator"), *_EMULATOR]
        return self._process("emulator", argv)

    def _worker(self, number: int) -> Process:
        pool, concurrency = _POOLS[number % len(_POOLS)]
        return self._celery(
            f"worker{number}",
            "worker",
            *("--pool", pool),
            *("--concurrency", str(concurrency)),
            *("--queues", "celery,batchq"),
            *("--hostname", f"worker{number}@chaos"),
            *("--without-mingle", "--without-gossip"),
        )

    def _beat(self, number: int) -> Process:
        name = f"beat{number}"
        return self._celery(name, "beat", "--schedule", str(self.directory / f"{name}.schedule"))

    def _producer(self, tasks: int) -> Process:
        argv = [sys.executable, "-m", "tests.chaos.producer", "--tasks", str(tasks)]
        return self._process("producer", [*argv, "--done", str(self.directory / "sent")])

    def _celery(self, name: str, *words: str) -> Process:
        argv = [sys.executable, "-m", "celery", "--app", APP, *words, "--loglevel", "info"]
        return self._process(name, argv)

    def _process(self, name: str, argv: list[str]) -> Process:
        log = self.directory / f"{name}.log"
        return Process(argv, name=name, log=log, environment=self.environment)

    # The chaos

    def carry_out(self, decision: Decision) -> None:
        ward, victims = self._victims(decision)
        if ward is None or not victims:
            self.skipped.append(decision)
            logger.info("nothing there to %s", decision)
            return
        now = time.time()
        logger.info("%s: %s", decision, ", ".join(map(str, sorted(victims))))
        until = now + decision.seconds
        self.disturbances.append(Disturbance(decision, now, until, frozenset(victims)))
        process = ward.process
        if process is None:
            return
        if decision.target == "child":
            with suppress(ProcessLookupError):
                os.kill(next(iter(victims)), signal.SIGKILL)
        elif decision.how == "kill":
            process.kill()
            ward.due, ward.wakes = until, None
        else:
            process.pause()
            ward.wakes = until

    def _victims(self, decision: Decision) -> tuple[Ward | None, set[int]]:
        target = "worker" if decision.target == "child" else decision.target
        wards = [ward for ward in self.wards if ward.target == target]
        if decision.target == "child":
            children = [(ward, pid) for ward in wards for pid in sorted(ward.living)[1:]]
            if not children:
                return None, set()
            ward, pid = children[decision.which % len(children)]
            return ward, {pid}
        ward = wards[decision.which % len(wards)]
        return ward, ward.living

    def tend(self) -> None:
        now = time.time()
        for ward in self.wards:
            ward.tend(now)

    @property
    def calm(self) -> bool:
        return all(ward.calm for ward in self.wards)

    @property
    def producing(self) -> bool:
        return not all(ward.finished for ward in self.wards if ward.target == "producer")

    def worker_pids(self) -> Iterator[int]:
        for ward in self.wards:
            if ward.target == "worker":
                yield from ward.living

    def stop(self) -> None:
        """End everything as it ended all the time: nothing is left to be done."""
        for ward in reversed(self.wards):
            if ward.process is not None:
                ward.process.kill()


@dataclass(frozen=True)
class Ports:
    valkey: ReservedPort
    emulator: ReservedPort


#: A batch takes a moment. What it refuses, it refuses for each line by itself.
_EMULATOR = (
    *("--validate-seconds", "0.2", "--run-seconds", "1", "--finalize-seconds", "0.2"),
    *("--faults", "line_error:containing=unanswerable:times=null:status=400:code=refused"),
)
