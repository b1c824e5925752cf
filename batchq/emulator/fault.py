"""One thing that can go wrong: its name, its level, and the options it takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["call", "batch", "world"]

# Which lines a fault picks; without one of these, what its defaults say.
SELECTION = ("custom_id", "containing", "every", "first")


@dataclass(frozen=True)
class Fault:
    name: str
    level: Level
    description: str
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    picks_lines: bool = False

    @property
    def options(self) -> list[str]:
        names = {"times", *self.defaults, *(SELECTION if self.picks_lines else ())}
        return sorted(names)


def of_call(name: str, description: str, **defaults: Any) -> Fault:
    return Fault(name, "call", description, defaults)


def of_batch(name: str, description: str, **defaults: Any) -> Fault:
    return Fault(name, "batch", description, defaults)


def of_lines(name: str, description: str, **defaults: Any) -> Fault:
    return Fault(name, "batch", description, {"first": 1} | defaults, picks_lines=True)


def failing_lines(name: str, description: str, status: int, kind: str, **defaults: Any) -> Fault:
    error = {"status": status, "kind": kind, "code": None, "param": None}
    return of_lines(name, description, **{**error, **defaults})


def of_world(name: str, description: str, *, lines: bool = False, **defaults: Any) -> Fault:
    return Fault(name, "world", description, defaults, picks_lines=lines)
