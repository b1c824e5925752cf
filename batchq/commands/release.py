"""`release`: let a lane go on that is held, or an account that is paused."""

from __future__ import annotations

import click

from batchq import control
from batchq.commands.terminal import Exit, Terminal, command

__all__ = ["release"]


@command()
@click.argument("lane", required=False)
@click.option("--account", help="Let this account go on, which is paused.")
def release(to: Terminal, lane: str | None, account: str | None) -> Exit:
    """Let LANE go on, which is held, or an account that is paused.

    Ends with 1 where it is not held, or not paused. An account that still has no credit, or
    whatever it was paused for, is paused again.
    """
    if (lane is None) == (account is None):
        raise click.UsageError("name a lane, or an account with --account")
    if account is not None:
        return _account(to, account)
    chosen = control.lane_named(to.app, str(lane))
    changed = control.release(to.app, chosen)
    if to.as_json:
        to.give({"lane": chosen.name, "held": False, "changed": changed})
    elif changed:
        to.say(f"lane {chosen.name} goes on")
    else:
        to.note(f"lane {chosen.name} is not held")
    return Exit.FINE if changed else Exit.PROBLEM


def _account(to: Terminal, account: str) -> Exit:
    changed = control.release_account(to.app, account)
    if to.as_json:
        to.give({"account": account, "paused": False, "changed": changed})
    elif changed:
        to.say(f"account {account} goes on")
    else:
        to.note(f"account {account} is not paused")
    return Exit.FINE if changed else Exit.PROBLEM
