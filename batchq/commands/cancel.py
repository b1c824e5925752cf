"""`cancel`: end a batch before its time."""

from __future__ import annotations

import click

from batchq import control
from batchq.commands.find import batch_named
from batchq.commands.terminal import Exit, Terminal, command
from batchq.journal import journal_of

__all__ = ["cancel"]


@command()
@click.argument("batch")
@click.option("--no-hold", is_flag=True, help="Do not hold its lane, so that its prompts go again.")
def cancel(to: Terminal, batch: str, *, no_hold: bool) -> Exit:
    """Ask for the end of BATCH, by our id or the provider's. Ends with 1 where it has ended.

    What is answered by then counts, and is billed. The rest goes back to its lane, which is held,
    so that it is not sent again at once.
    """
    found = batch_named(journal_of(to.app), batch)
    asked = control.cancel(to.app, found.id, hold=not no_hold) == "ASKED"
    held = found.lane in journal_of(to.app).lanes.held()
    if to.as_json:
        to.give({"batch": found.id, "asked": asked, "lane": found.lane.name, "held": held})
    elif asked:
        to.say(f"the end of batch {found.id} is asked for")
        if held:
            to.note(f"lane {found.lane.name} is held: `release` lets its prompts go again")
    else:
        to.note(f"batch {found.id} has ended already")
    return Exit.FINE if asked else Exit.PROBLEM
