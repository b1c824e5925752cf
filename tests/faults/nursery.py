"""A process that has imported all there is, and forks workers, beats and producers on demand.

A fork begins where a new process would be a second later, and sixty points are cut off often. Its
input and output are lines of JSON; `Nursery` is the other end of it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import ROOT, wait_until

WARM = (
    "celery.apps.beat celery.apps.worker celery.bin.celery celery.concurrency.solo celery.worker "
    "celery.worker.components celery.worker.consumer celery.worker.strategy kombu.transport.redis "
    "celery.backends.redis openai.resources.chat openai.resources.batches openai.resources.files "
    "batchq.flow.fetch batchq.flow.flush batchq.flow.poll batchq.flow.rescue batchq.flow.resume"
).split()


@dataclass(frozen=True, slots=True)
class Child:
    """A forked process; it leads a group of its own."""

    name: str
    pid: int
    log: Path

    @property
    def runs(self) -> bool:
        # The nursery leaves no zombies, so a group that takes a signal lives.
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        wait_until(lambda: not self.runs, description=f"{self.name} is gone", every=0.01)


class Nursery:
    """The one who asks: starts the nursery, and children in it."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.nursery"],
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        self._hear()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def start(
        self,
        name: str,
        log: Path,
        argv: list[str],
        *,
        crash_at: str = "",
        settings: Mapping[str, Any] | None = None,
    ) -> Child:
        """Fork one that runs ``celery <argv>``, or sends the journey for ``["produce", ids]``."""
        order = {"log": str(log), "argv": argv, "crash_at": crash_at, "settings": settings or {}}
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(order) + "\n")
        self._popen.stdin.flush()
        return Child(name, int(self._hear()), log)

    def stop(self) -> None:
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(10)
        self._popen.kill()
        self._popen.wait(10)

    def _hear(self) -> str:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise RuntimeError("the nursery has ended")
        return line


def main() -> None:
    for name in WARM:
        importlib.import_module(name)
    importlib.import_module("tests.faults.app")
    # Those who die are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _say("ready")
    born: list[int] = []
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _live(json.loads(line))
        # Both sides do it: whoever signals the group next is to find it.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        born = [one for one in born if _lives(one)]
        born.append(pid)
        _say(str(pid))
    # Whoever asked is gone, in order or not.
    for pid in born:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    return Child("", pid, Path()).runs


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _live(order: dict[str, Any]) -> None:
    """Be the child, to its end."""
    from batchq.common import points
    from tests.faults import app as faults

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    faults.app.conf.update(order["settings"])
    points.arm(order["crash_at"])
    status = 0
    try:
        if order["argv"][0] == "produce":
            faults.send(json.loads(order["argv"][1]))
        else:
            faults.app.start(order["argv"])
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 it is in its log
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
