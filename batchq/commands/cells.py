"""Tables for people, and how single values are written in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from batchq.common.words import span

__all__ = ["cell", "iso", "printable", "stamp", "table"]


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Lines with aligned columns; a column whose name begins with ``>`` is aligned to the right.

    No value is cut off and none is without a word, so that ``awk`` can read it as well.
    """
    lines = [[name.lstrip(">") for name in columns], *([cell(one) for one in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        cells = [
            value.rjust(width) if name.startswith(">") else value.ljust(width)
            for name, value, width in zip(columns, line, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def cell(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case timedelta():
            return span(value)
        case _:
            return printable(str(value))


def printable(text: str) -> str:
    """What others have named, without what would steer a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else "�" for each in text)


def iso(milliseconds: int) -> str | None:
    """A time of the journal as ISO 8601 in UTC; None for 0, which is "not yet"."""
    if not milliseconds:
        return None
    return stamp(datetime.fromtimestamp(milliseconds / 1000, tz=UTC))


def stamp(moment: datetime) -> str:
    """A moment as ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
