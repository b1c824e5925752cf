"""The demo's own servers and workers: each a process that is certain to end with the demo."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Self

#: What the services read. The demo hurries; production keeps the defaults in celeryconfig.py.
HURRY = {
    "BATCHQ_FLUSH_AFTER": "3",
    "BATCHQ_TICK": "1",
    "BATCHQ_POLL_FIRST": "1",
    "BATCHQ_POLL_LONGEST": "2",
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """Somebody pressed Ctrl-C, or ended the demo in another way."""


class ServiceFailed(Exception):
    """A service ended by itself; its log says why."""


class Interruption:
    """Turns Ctrl-C into a question.

    An exception out of the blue could arrive between the start of a process and the line that
    remembers it, and leave that process behind.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        for number in SIGNALS:
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked.set()

    def check(self) -> None:
        if self._asked.is_set():
            raise Interrupted

    def sleep(self, seconds: float) -> None:
        """Raises Interrupted at once where somebody wants the demo to end."""
        self._asked.wait(seconds)
        self.check()


class Service:
    """One process in a session of its own: Ctrl-C in the terminal reaches the demo alone."""

    def __init__(self, name: str, argv: list[str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        if (code := self._process.poll()) is not None:
            raise ServiceFailed(f"{self.name} ended with {code}:\n{self.output()[-2000:]}")

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def ask_to_end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()

    def end(self, *, patience: float = 3) -> None:
        """Return when the process and all of its children are gone."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Services:
    """Valkey, the emulator, a worker, beat and Flower, on free ports of this machine."""

    def __init__(
        self,
        directory: Path,
        interruption: Interruption,
        *,
        batch_seconds: float,
        app: str = "demo.tasks",
        flower: bool = True,
    ) -> None:
        self._directory = directory
        self._app = app
        self._shows_flower = flower
        self._pace = ("--run-seconds", str(batch_seconds))
        self._interruption = interruption
        self._running: list[Service] = []
        self.flower = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End them in reverse order: whoever outlives its Redis waits for it, and complains."""
        # Celery's results are such: they talk to Redis when they are collected.
        gc.collect()
        for service in self._running[:0:-1]:
            service.ask_to_end()
        for service in self._running[:0:-1]:
            service.end()
        for service in self._running[:1]:
            service.ask_to_end()
            service.end()

    def start(self) -> None:
        redis, emulator, flower = free_port(), free_port(), free_port(5555)
        self.flower = f"http://127.0.0.1:{flower}"
        for name in [name for name in os.environ if name.startswith(("OPENAI_", "BATCHQ_"))]:
            del os.environ[name]
        os.environ |= HURRY | {
            "REDIS_URL": f"redis://127.0.0.1:{redis}/0",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{emulator}/v1",
            "OPENAI_API_KEY": "sk-demo",
        }
        data = self._directory / "valkey"
        valkey = self._start("valkey", "demo.valkey", "--port", str(redis), "--dir", str(data))
        api = self._start("emulator", "batchq.emulator", "--port", str(emulator), *self._pace)
        self._wait(valkey, lambda: listening(redis))
        celery = ("celery", "-A", self._app)
        worker = self._start("worker", *celery, "worker", *WORKER)
        self._start("beat", *celery, "beat", "--schedule", str(self._directory / "beat"))
        if self._shows_flower:
            self._start("flower", *celery, "flower", "--address=127.0.0.1", f"--port={flower}")
        self._wait(api, lambda: listening(emulator))
        self._wait(worker, lambda: " ready." in worker.output())

    def check(self) -> None:
        for service in self._running:
            service.check()

    def _start(self, name: str, module: str, *words: str) -> Service:
        self._interruption.check()
        argv = [sys.executable, "-m", module, *words]
        service = Service(name, argv, self._directory / f"{name}.log")
        self._running.append(service)
        return service

    def _wait(self, service: Service, ready: Callable[[], bool], *, timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while not ready():
            service.check()
            if time.monotonic() > deadline:
                raise ServiceFailed(f"{service.name} is not ready:\n{service.output()[-2000:]}")
            self._interruption.sleep(0.1)


WORKER = (
    *("--queues", "celery,batchq"),
    *("--concurrency", "2"),
    *("--loglevel", "info"),
    *("--without-mingle", "--without-gossip"),
)


def free_port(wished: int = 0) -> int:
    """A port nobody listens on: the wished one if possible."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wished))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
