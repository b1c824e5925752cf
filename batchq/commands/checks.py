"""What `check` tells: what is found wrong, and a line for each subject that is well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from batchq.observe.diagnosis import Finding, Seen, diagnose

__all__ = ["Check", "checks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: ``about`` what, what was seen, and what to ``do`` about it."""

    about: str
    level: Literal["ok", "info", "warning", "problem"]
    what: str
    do: str = ""
    since: int = 0

    @classmethod
    def of(cls, found: Finding) -> Check:
        return cls(
            about=found.about, level=found.level, what=found.what, do=found.do, since=found.since
        )


def checks(seen: Seen) -> list[Check]:
    """All that was looked at, in the order in which one would."""
    found, told = diagnose(seen), list[Check]()
    for about, fine in _FINE.items():
        wrong = [one for one in found if one.about == about]
        if all(one.level == "info" for one in wrong) and _was_seen(seen, about):
            told.append(Check(about=about, level="ok", what=fine))
        told += map(Check.of, wrong)
    return told


def _was_seen(seen: Seen, about: str) -> bool:
    match about:
        case "workers":
            return seen.consumers is not None
        case "provider":
            return seen.providers is not None
        case _:
            return (seen.set_up if about in _SET_UP else seen.reading) is not None


_SET_UP = frozenset({"schedule", "results", "broker", "celery", "live", "times", "secrets"})
"""What an app sets, and what is seen without Redis."""

_FINE: Mapping[str, str] = {
    "redis": "Redis is fit to keep the journal",
    "memory": "Redis has room for another day at today's pace",
    "schedule": "beat's schedule has Batchq's entries",
    "beat": "beat ticks",
    "workers": "a worker consumes Batchq's queue",
    "provider": "every account answers, and its clock agrees",
    "results": "results and chords outlive the wait",
    "broker": "the broker holds messages for long enough",
    "celery": "nothing that the app sets holds up its batched tasks",
    "live": "batched tasks go into batches",
    "times": "the times of the settings fit together",
    "storage": "large bodies have a place, or none of their own",
    "secrets": "keys are where they should be",
    "lanes": "every lane has its account",
    "batches": "every batch gets on",
    "budget": "today stays within the budget, or has none",
    "tasks": "no task is overdue, and nothing is dead",
    "batchq": "Batchq has met no error of its own",
}
