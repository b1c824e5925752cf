"""What the tasks tell about themselves: one file, one line an event.

A line is written in one piece and is there when its writer dies a moment later; it needs no server
that could be killed too.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "CHAOS_EVENTS"


@dataclass(frozen=True, slots=True)
class Event:
    """``word`` is sent, begun, parked, returned, succeeded, settled or linked.

    A run is begun, and then parked (it has asked, or is to be tried again) or returned and settled.
    """

    at: float
    pid: int
    word: str
    number: int


def tell(word: str, number: int) -> None:
    line = f"{time.time():.4f} {os.getpid()} {word} {number}\n"
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


class Reader:
    """Reads what was added to the file since it was last read."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open()
        self._rest = ""

    def new(self) -> list[Event]:
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        return [_event(line) for line in lines]

    def close(self) -> None:
        self._file.close()


def _event(line: str) -> Event:
    at, pid, word, number = line.split()
    return Event(float(at), int(pid), word, int(number))
