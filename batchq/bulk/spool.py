"""Ids of a million tasks, in a file that is gone with its process."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO

__all__ = ["Spool"]


class Spool:
    """Rows, each with its number and its task's id, in order. Read as often as you like."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as this
        weakref.finalize(self, self._file.close)
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, rows: Iterable[tuple[int, str]]) -> None:
        self._file.seek(0, 2)
        for number, task_id in rows:
            self._file.write(f"{number} {task_id}\n".encode())
            self._rows += 1

    def chunks(self, size: int) -> Iterator[list[tuple[int, str]]]:
        """All of them, so many at a time; others may read or add meanwhile."""
        at = 0
        while True:
            self._file.seek(at)
            lines = list(islice(iter(self._file.readline, b""), size))
            at = self._file.tell()
            if not lines:
                return
            yield [_row(line) for line in lines]


def _row(line: bytes) -> tuple[int, str]:
    number, _, task_id = line[:-1].decode().partition(" ")
    return int(number), task_id
