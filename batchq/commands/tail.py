"""`tail`: what happens, as it happens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

import click

from batchq.commands import shapes
from batchq.commands.cells import printable, stamp
from batchq.commands.terminal import Exit, Terminal, command
from batchq.events import KINDS, Event
from batchq.journal import Journal, journal_of

__all__ = ["tail"]

_ALL = 100_000
"""More events than the journal keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events are wanted. Nothing leaves it open."""

    kinds: frozenset[str]
    batch: str | None
    lane: str | None

    def takes(self, event: Event) -> bool:
        return (
            (not self.kinds or event.kind in self.kinds)
            and (self.batch is None or self.batch == getattr(event, "batch", None))
            and (self.lane is None or self.lane in getattr(event, "lane", ""))
        )


@command()
@click.option(
    "--last",
    "-n",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many of those that happened already are shown first.",
)
@click.option(
    "--kind", type=click.Choice(list(KINDS)), multiple=True, help="Only this; repeatable."
)
@click.option("--batch", help="Only those of this batch, by our id.")
@click.option("--lane", help="Only those of lanes that have this in their name.")
@click.option("--no-follow", is_flag=True, help="End after those that happened already.")
def tail(
    to: Terminal,
    *,
    last: int,
    kind: tuple[str, ...],
    batch: str | None,
    lane: str | None,
    no_follow: bool,
) -> Exit:
    """Events as they happen.

    Batches that are sealed, submitted and over, what is stuck, what is dead. Goes on until it
    is interrupted. With --json, one object on each line.
    """
    wanted = Filter(kinds=frozenset(kind), batch=batch, lane=lane)
    journal = journal_of(to.app)
    past = journal.events.last(_ALL)
    recent = [event for event in past if wanted.takes(event)]
    for event in recent[len(recent) - min(last, len(recent)) :]:
        _tell(to, event)
    if not no_follow:
        for event in _to_come(journal, past):
            if wanted.takes(event):
                _tell(to, event)
    return Exit.FINE


def _to_come(journal: Journal, past: list[Event]) -> Iterator[Event]:
    # From behind what was read: what happens in between is not missed.
    return journal.events.follow(after=past[-1].id if past else "0-0")


def _tell(to: Terminal, event: Event) -> None:
    if to.as_json:
        to.give(_shape(event), indent=None)
    else:
        to.say(printable(f"{stamp(event.at)}  {event.kind:15}  {event}"))


_MONEY = frozenset({"cost", "live_cost", "spent", "under_way", "budget"})


def _shape(event: Event) -> dict[str, Any]:
    shape: dict[str, Any] = {"kind": event.kind, "at": stamp(event.at), "id": event.id}
    for each in fields(event):
        if each.name not in shape:
            name, value = _named(each.name, getattr(event, each.name))
            shape[name] = value
    return shape


def _named(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, timedelta):
        return f"{name}_seconds", value.total_seconds()
    return (f"{name}_usd", shapes.usd(value)) if name in _MONEY else (name, value)
