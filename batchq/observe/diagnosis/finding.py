"""What is found wrong: the one record of it, and the levels that there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["LEVELS", "Finding", "Level", "info", "problem", "warning"]

Level = Literal["problem", "warning", "info"]
"""``problem``: something does not go on, or is lost, until somebody acts. ``warning``: all goes on,
but not as it should, or not for long. ``info``: good to know."""

LEVELS: tuple[Level, ...] = get_args(Level)
"""From the worst on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be: ``what`` it is, and what to ``do`` about it.

    ``about`` is the subject, as `check` lists them. ``since`` is a time of Redis's clock
    (milliseconds), 0 where nobody knows. ``path`` is where one sees more of it, for who can show
    that: ``batch/<id>``, ``task/<id>``, ``lane/<name>``, ``account/<name>`` or ``dead``.
    """

    about: str = ""
    level: Level
    what: str
    do: str
    since: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.do}"


def problem(what: str, do: str, *, since: int = 0, path: str = "") -> Finding:
    return Finding(level="problem", what=what, do=do, since=since, path=path)


def warning(what: str, do: str, *, since: int = 0, path: str = "") -> Finding:
    return Finding(level="warning", what=what, do=do, since=since, path=path)


def info(what: str, do: str, *, since: int = 0, path: str = "") -> Finding:
    return Finding(level="info", what=what, do=do, since=since, path=path)
