"""What is said: several events as one message for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from batchq.common.words import dollars
from batchq.events import BatchFailed, BatchFinished, Event

__all__ = ["message"]

_LINES = 3
"""How many events of a kind have a line of their own in a message."""

_LONGEST = 1900
"""Characters of a message; Discord takes 2,000."""


def message(events: Sequence[Event], app: str) -> str:
    """Some events as a text for people, those of a kind together."""
    kinds = dict.fromkeys(event.kind for event in events)
    lines = [
        line for kind in kinds for line in _lines([event for event in events if event.kind == kind])
    ]
    text = f"{app}: {lines[0]}" if len(lines) == 1 else "\n• ".join((f"{app}:", *lines))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _lines(some: Sequence[Event]) -> list[str]:
    if len(some) <= _LINES:
        return [str(event) for event in some]
    what = some[0].kind.replace("_", " ")
    ended = [event for event in some if isinstance(event, (BatchFinished, BatchFailed))]
    if not ended:
        return [f"{what}, {len(some):,} times. The last: {some[-1]}"]
    prompts, cost = sum(event.answered for event in ended), sum(event.cost for event in ended)
    lanes = Counter(event.lane for event in ended).most_common(_LINES)
    shown = ", ".join(f"{count:,} of {lane}" for lane, count in lanes)
    paid = f", {dollars(cost)}" if cost else ""
    return [f"{what}, {len(some):,} times: {prompts:,} prompts answered{paid} ({shown})"]
