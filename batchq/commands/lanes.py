"""`lanes`: what waits, and when it goes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from batchq.commands import shapes
from batchq.commands.terminal import Exit, Terminal, command
from batchq.common.words import span
from batchq.decide.flush import NextFlush, next_flush
from batchq.journal import LaneRecord, journal_of
from batchq.settings.config import settings

__all__ = ["lanes", "show_lanes"]


@command()
def lanes(to: Terminal) -> Exit:
    """What waits in each lane, when it goes, and why then."""
    journal, config = journal_of(to.app), settings(to.app)
    found = journal.lanes.all()
    # One that is held is worth seeing before the first prompt gets stuck in it.
    for lane in sorted(
        journal.lanes.held() - {one.lane for one in found}, key=lambda one: one.name
    ):
        oldest = timedelta(0)
        found.append(LaneRecord(lane=lane, prompts=0, bytes=0, tokens=0, oldest=oldest, held=True))
    if to.as_json:
        to.give({"lanes": [shapes.lane(one, next_flush(one, config)) for one in found]})
    elif found:
        show_lanes(to, found)
    else:
        to.note("no prompt waits in a lane")
    return Exit.FINE


def show_lanes(to: Terminal, records: Iterable[LaneRecord]) -> None:
    config = settings(to.app)
    to.show(
        ["LANE", ">PROMPTS", ">BYTES", ">OLDEST", ">TOKENS", ">NEXT FLUSH", "WHY"],
        (_row(one, next_flush(one, config)) for one in records),
    )


def _row(record: LaneRecord, following: NextFlush) -> list[object]:
    due_in = following.due_in
    due = "-" if due_in is None else "now" if following.is_now else f"in {span(due_in)}"
    oldest = record.oldest if record.prompts else None
    size = record.bytes
    return [record.lane.name, record.prompts, size, oldest, record.tokens, due, following.why]
