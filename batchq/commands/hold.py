"""`hold`: let nothing leave a lane."""

from __future__ import annotations

import click

from batchq import control
from batchq.commands.terminal import Exit, Terminal, command

__all__ = ["hold"]


@command()
@click.argument("lane")
def hold(to: Terminal, lane: str) -> Exit:
    """Let nothing leave LANE until it is released. Ends with 1 where it is held already.

    Tasks go on asking into it. What is in a batch already goes on; see `cancel`.
    """
    chosen = control.lane_named(to.app, lane)
    changed = control.hold(to.app, chosen)
    if to.as_json:
        to.give({"lane": chosen.name, "held": True, "changed": changed})
    elif changed:
        to.say(f"lane {chosen.name} is held")
    else:
        to.note(f"lane {chosen.name} is held already")
    return Exit.FINE if changed else Exit.PROBLEM
