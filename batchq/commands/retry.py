"""`retry`: try again what killed its workers, or was set aside."""

from __future__ import annotations

import click

from batchq import control
from batchq.commands.terminal import Exit, Terminal, command
from batchq.overview import dead

__all__ = ["retry"]


@command()
@click.argument("ids", metavar="ID…", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that `dead` lists.")
@click.option(
    "--ask-again",
    is_flag=True,
    help="Give up what a batch's files do not say: its prompts are asked, and paid for, again.",
)
def retry(to: Terminal, ids: tuple[str, ...], *, everything: bool, ask_again: bool) -> Exit:
    """Try dead tasks or batches again.

    Ends with 1 where an ID is not dead. A task is sent as it came, and has the answers it had. The
    files of a batch are read again; nothing is paid for again without --ask-again.
    """
    if everything == bool(ids):
        raise click.UsageError("name what to retry, or give --all")
    wanted = [one.id for one in dead(to.app)] if everything else list(dict.fromkeys(ids))
    retried: dict[str, bool] = {}
    with to.progress(len(wanted), "retry") as done:
        for name in wanted:
            retried[name] = control.retry(to.app, name, ask_again=ask_again)
            done(1)
    _tell(to, retried)
    # Of --all, another may have been faster.
    return Exit.FINE if everything or all(retried.values()) else Exit.PROBLEM


def _tell(to: Terminal, retried: dict[str, bool]) -> None:
    if to.as_json:
        to.give({"retried": [{"id": name, "retried": sent} for name, sent in retried.items()]})
        return
    for name, sent in retried.items():
        if sent:
            to.say(f"{name} is tried again")
        else:
            to.note(f"{name} is not dead")
    if not retried:
        to.note("nothing is dead")
