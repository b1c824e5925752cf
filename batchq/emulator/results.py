"""The order and the shape of the rows in a result file."""

import random
from collections.abc import Iterator
from typing import BinaryIO


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
