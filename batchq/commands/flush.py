"""`flush`: let go now what waits."""

from __future__ import annotations

import click

from batchq import control
from batchq.commands.terminal import Exit, Terminal, command
from batchq.common.words import many
from batchq.journal import journal_of

__all__ = ["flush"]


@command()
@click.argument("lane", required=False)
def flush(to: Terminal, lane: str | None) -> Exit:
    """Let what waits, or what waits in LANE, go now.

    LANE is a lane's name, or a part of it that no other has. A worker does it; what is held stays,
    and what the provider has no room for goes as soon as there is some. Ends with 1 where nothing
    can go.
    """
    chosen = None if lane is None else control.lane_named(to.app, lane)
    lanes = [one for one in journal_of(to.app).lanes.all() if chosen in (None, one.lane)]
    held = sum(one.prompts for one in lanes if one.held)
    prompts = sum(one.prompts for one in lanes) - held
    if prompts:
        control.flush(to.app, chosen)
    name = None if chosen is None else chosen.name
    if to.as_json:
        to.give({"lane": name, "prompts": prompts, "held": held})
        return Exit.FINE if prompts else Exit.PROBLEM
    if prompts:
        to.say(f"to go now: {many(prompts, 'prompt')} of {name or 'all lanes'}")
    else:
        to.note("nothing waits that could go")
    if held:
        to.note(f"held, and not to go: {many(held, 'prompt')}; `release` lets a lane go on")
    return Exit.FINE if prompts else Exit.PROBLEM
