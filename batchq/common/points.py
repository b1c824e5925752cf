"""Named places in the code at which a test may cut a process off. They do nothing otherwise.

    BATCHQ_CRASH_AT=<point>:<nth hit>:<kill|stop|wait>:<file>

in the environment of a process, as it starts, arms one point of it. At the nth hit the process
writes the file, as proof that it got there, and then

    kill    kills itself and its process group, as a power cut would
    stop    stops itself and its process group, until somebody lets it go on
    wait    waits until the file is gone: whoever armed it does something else meanwhile

A name is what the code is about to do (``create.call``) or has just done (``create.called``).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

__all__ = ["arm", "point"]


def point(name: str) -> None:
    """Be cut off here, where a test has armed this point."""
    if _armed is not None:
        _armed.reached(name)


class _Armed:
    def __init__(self, order: str) -> None:
        self.name, nth, self.what, file = order.split(":", 3)
        self.left = int(nth)
        self.file = Path(file)
        self.lock = threading.Lock()

    def reached(self, name: str) -> None:
        if name != self.name:
            return
        with self.lock:
            self.left -= 1
            if self.left != 0:
                return
            self.file.write_text(f"{os.getpid()} {time.time()}")
            if self.what == "kill":
                os.killpg(os.getpgrp(), signal.SIGKILL)
            elif self.what == "stop":
                os.killpg(os.getpgrp(), signal.SIGSTOP)
            else:
                while self.file.exists():
                    time.sleep(0.005)


_armed: _Armed | None = None


def arm(order: str | None) -> None:
    """Arm a point of this process, as its environment would have at its start; None arms none."""
    global _armed  # noqa: PLW0603 one test, one process, one point
    _armed = _Armed(order) if order else None


arm(os.environ.get("BATCHQ_CRASH_AT"))
