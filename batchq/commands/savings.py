"""`savings`: what batches have cost, and what the same would have cost live."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

import click

from batchq.commands import shapes
from batchq.commands.terminal import Exit, Terminal, command
from batchq.journal import Sums, journal_of
from batchq.money.cost import Cost

__all__ = ["savings"]

_KEPT = 92
"""Days whose sums the journal keeps."""


@command()
@click.option(
    "--days",
    type=click.IntRange(1, _KEPT),
    default=30,
    show_default=True,
    help="How many days back; today is one.",
)
def savings(to: Terminal, days: int) -> Exit:
    """What batches have cost and saved.

    By day (UTC, when they ended), by lane, and in all. An estimate has a ~, and what nobody
    knows a price of is counted as unpriced.
    """
    journal = journal_of(to.app)
    by_day = journal.tallies.days(days)
    by_lane = journal.tallies.lanes()
    total = _total(by_day.values())
    if to.as_json:
        to.give(
            {
                "days": [{"day": str(day), **shapes.sums(one)} for day, one in by_day.items()],
                "lanes": [{"lane": lane.name, **shapes.sums(one)} for lane, one in by_lane.items()],
                "total": shapes.bill(total),
            }
        )
        return Exit.FINE
    ended = [(str(day), one) for day, one in by_day.items() if one.batches]
    if not ended and not by_lane:
        to.note("no batch has ended yet")
        return Exit.FINE
    _table(to, "DAY", ended, total)
    to.say()
    lanes = [(lane.name, one) for lane, one in by_lane.items()]
    _table(to, "LANE, SINCE ITS FIRST BATCH", lanes, _total(by_lane.values()))
    return Exit.FINE


def _total(several: Iterable[Sums]) -> Cost:
    return reduce(Cost.__add__, map(Cost.of, several), Cost())


def _table(to: Terminal, first: str, named: Sequence[tuple[str, Sums]], total: Cost) -> None:
    columns = [first, ">BATCHES", ">PROMPTS", ">FAILED", ">COST", ">LIVE", ">SAVED"]
    rows = [[name, of.batches, of.prompts, of.failed, *_money(Cost.of(of))] for name, of in named]
    counts = [
        sum(getattr(of, name) for _, of in named) for name in ("batches", "prompts", "failed")
    ]
    to.show(columns, [*rows, ["total", *counts, *_money(total)]])


def _money(cost: Cost) -> list[str]:
    return [cost.shown, cost.shown_live, cost.shown_saved]
