"""`status`: where everything is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from batchq.commands import shapes
from batchq.commands.batches import show_batches
from batchq.commands.cells import iso
from batchq.commands.lanes import show_lanes
from batchq.commands.terminal import Exit, Terminal, command
from batchq.common.words import span
from batchq.decide.flush import next_flush
from batchq.journal import Sums, journal_of
from batchq.money.cost import Cost
from batchq.overview import Status
from batchq.overview import status as status_of
from batchq.settings.config import settings

__all__ = ["status"]


@command()
def status(to: Terminal) -> Exit:
    """Where everything is: prompts, tasks, lanes, batches.

    With beat, and today's bill. It only looks, and ends with 0 whatever it sees; `check` is the
    one that judges.
    """
    found, today = status_of(to.app), journal_of(to.app).tallies.day()
    if to.as_json:
        to.give(_shape(to.app, found, today))
        return Exit.FINE
    _counts(to, found, today)
    if found.lanes:
        to.say()
        show_lanes(to, found.lanes)
    if found.batches:
        to.say()
        show_batches(to, found.batches)
    for one in found.findings:
        to.note(f"{one.level}: {one}")
    return Exit.FINE


def _counts(to: Terminal, found: Status, today: Sums) -> None:
    bill = Cost.of(today)
    to.fields(
        [
            ("prompts waiting", found.waiting),
            ("prompts in batches", found.batched),
            ("prompts answered", f"{found.answered:,} of {found.captured:,} asked"),
            ("tasks waiting", found.tasks_waiting),
            ("tasks on their way back", found.tasks_resuming),
            ("tasks overdue", found.overdue),
            ("accounts paused", _paused(found)),
            ("bodies running long", _long(found)),
            ("most rounds", _rounds(found)),
            ("dead", found.dead),
            ("beat", _beat(found)),
            ("today", f"{bill.shown} spent, {bill.shown_saved} saved"),
        ]
    )


def _paused(found: Status) -> str:
    return "; ".join(f"{one.account}, because {one.because}" for one in found.paused) or "0"


def _long(found: Status) -> str:
    names = ", ".join(f"{one.name} [{one.task_id}]" for one in found.long_runs[:_NAMED])
    return f"{len(found.long_runs):,}{names and f': {names}'}"


def _rounds(found: Status) -> str:
    """The tasks that asked in the most rounds: each round waits for a batch of its own."""
    most = sorted(found.rounds.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{rounds} ({name})" for name, rounds in most[:_NAMED]) or "1"


_NAMED = 3


def _beat(found: Status) -> str:
    seen = "never seen" if found.beat_seen is None else f"seen {span(found.beat_seen)} ago"
    return seen if found.stands_in is None else f"{seen}; {found.stands_in} stands in"


def _shape(app: Any, found: Status, today: Sums) -> dict[str, Any]:
    config = settings(app)
    return {
        "captured": found.captured,
        "waiting": found.waiting,
        "batched": found.batched,
        "answered": found.answered,
        "tasks_waiting": found.tasks_waiting,
        "tasks_resuming": found.tasks_resuming,
        "overdue": found.overdue,
        "paused": [shapes.pause(one) for one in found.paused],
        "long_runs": [
            {"task_id": one.task_id, "name": one.name, "began_at": iso(one.began_at)}
            for one in found.long_runs
        ],
        "rounds": dict(found.rounds),
        "dead": found.dead,
        "beat_seen_seconds": _seconds(found.beat_seen),
        "stands_in": found.stands_in,
        "today": shapes.sums(today),
        "lanes": [shapes.lane(one, next_flush(one, config)) for one in found.lanes],
        "batches": [shapes.batch(one) for one in found.batches],
        "findings": [shapes.finding(one) for one in found.findings],
    }


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
