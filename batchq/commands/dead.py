"""`dead`: what killed its workers, or was set aside."""

from __future__ import annotations

from batchq.commands.cells import stamp
from batchq.commands.terminal import Exit, Terminal, command
from batchq.overview import dead as all_dead

__all__ = ["dead"]


@command()
def dead(to: Terminal) -> Exit:
    """What killed its workers, or failed, three times in a row, or brought rows of no use.

    Tasks and batches, newest first. Ends with 1 where there are any. `retry` tries them again.
    """
    found = all_dead(to.app)
    if to.as_json:
        shape = [
            {
                "id": one.id,
                "kind": one.kind,
                "name": one.name or None,
                "reason": one.reason,
                "at": stamp(one.at),
            }
            for one in found
        ]
        to.give({"dead": shape})
    elif found:
        rows = ([one.id, one.kind, one.name, f"{one.at:%F %T}", one.reason] for one in found)
        to.show(["ID", "KIND", "NAME", "AT (UTC)", "REASON"], rows)
    else:
        to.note("nothing is dead")
    return Exit.PROBLEM if found else Exit.FINE
