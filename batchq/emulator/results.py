"""The rows of a batch, from the moment they are made to the result files."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from batchq.emulator.clock import Pace
from batchq.emulator.execution import Line, Ran, parse, unrun_row
from batchq.emulator.records import Batch
from batchq.emulator.store import Store


@dataclass(frozen=True)
class Result:
    """A result file that is written, but belongs to no batch yet."""

    stream: str
    file_id: str
    place: Path


class Parts:
    """The rows of a batch on their way: appended while it runs, cut back after a kill."""

    def __init__(self, store: Store, batch: Batch) -> None:
        self.output = _at(store.part(batch, "output"), batch.output_bytes)
        self.error = _at(store.part(batch, "error"), batch.error_bytes)

    def write(self, ran: list[Ran]) -> None:
        self.output.write(b"".join(one.output for one in ran))
        self.error.write(b"".join(one.error for one in ran))
        self.flush()

    def flush(self) -> None:
        self.output.flush()
        self.error.flush()

    def empty(self) -> None:
        for part in (self.output, self.error):
            part.seek(0)
            part.truncate()

    def close(self) -> None:
        self.output.close()
        self.error.close()


def _at(path: Path, size: int) -> BinaryIO:
    path.touch()
    part = path.open("r+b")
    part.truncate(size)
    part.seek(size)
    return part


def skipped(source: BinaryIO, position: int) -> Iterator[Line]:
    """The lines of an input file, from this position on."""
    for index, raw in enumerate(source):
        if index >= position:
            yield parse(index, raw)


async def give_up(
    store: Store, batch: Batch, parts: Parts, position: int, reason: Mapping[str, str]
) -> None:
    """Write the rows of all lines from this position on, which will not run."""
    pace = Pace()
    with store.path(batch.input_file_id).open("rb") as source:
        for line in skipped(source, position):
            parts.error.write(unrun_row(line.custom_id, reason))
            await pace.breathe()
    parts.flush()


async def copy(part: Path, place: Path, shuffle: random.Random | None, mischief: set[str]) -> None:
    """Make a result file of the rows of a part file."""
    pace = Pace()
    # "a+b": a part that is not there is one without rows, for those who ask for zero bytes.
    with place.open("wb") as target, part.open("a+b") as source:
        for row in arranged(source, shuffle, mischief):
            target.write(row)
            await pace.breathe()


def arranged(
    source: BinaryIO, shuffle: random.Random | None, mischief: set[str]
) -> Iterator[bytes]:
    """The rows of a part file as its result file has them, newlines included.

    Only the rows' places are held in memory, never the rows.
    """
    places: list[tuple[int, int]] = []
    position = source.seek(0)
    for row in source:
        places.append((position, len(row)))
        position += len(row)
    if shuffle is not None:
        shuffle.shuffle(places)
    last = len(places) - 1
    for number, (offset, size) in enumerate(places):
        source.seek(offset)
        row = source.read(size)
        yield _ending(row, mischief) if number == last else row
        if "blank_lines" in mischief and (number == last or number % 2 == 0):
            yield b"\n"


def _ending(row: bytes, mischief: set[str]) -> bytes:
    if "truncated_last_line" in mischief:
        return row[: len(row) // 2]
    return row.rstrip(b"\n") if "no_trailing_newline" in mischief else row
