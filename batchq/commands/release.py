"""`release`: let a lane go on that is held."""

from __future__ import annotations

import click

from batchq import operate
from batchq.commands.terminal import Exit, Terminal, command

__all__ = ["release"]


@command()
@click.argument("lane")
def release(to: Terminal, lane: str) -> Exit:
    """Let LANE go on, which is held. Ends with 1 where it is not held."""
    chosen = operate.lane_named(to.app, lane)
    changed = operate.release(to.app, chosen)
    if to.as_json:
        to.give({"lane": chosen.name, "held": False, "changed": changed})
    elif changed:
        to.say(f"lane {chosen.name} goes on")
    else:
        to.note(f"lane {chosen.name} is not held")
    return Exit.FINE if changed else Exit.PROBLEM
