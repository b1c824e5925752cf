"""The lines of a file that may be large: read one at a time, with progress."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchq.commands.terminal import Terminal

__all__ = ["lines_of"]

_STEP = 1_000_000
"""Bytes between two moves of the bar."""


@contextmanager
def lines_of(to: Terminal, path: str) -> Generator[Iterator[bytes]]:
    """The lines of a file without their newlines; ``-`` is stdin."""
    if path == "-":
        yield (line.removesuffix(b"\n") for line in sys.stdin.buffer)
        return
    file = Path(path)
    with file.open("rb") as content, to.progress(file.stat().st_size, file.name) as done:

        def lines() -> Iterator[bytes]:
            read = 0
            for line in content:
                read += len(line)
                if read >= _STEP:
                    done(read)
                    read = 0
                yield line.removesuffix(b"\n")
            done(read)

        yield lines()
