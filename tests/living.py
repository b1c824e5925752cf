"""The processes of this machine that live, as /proc has them: Linux only."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["Living", "children", "group", "living", "read"]


class Living(NamedTuple):
    """A process that is not a zombie: who started it, its group and its session, by their ids, and
    when it began, in ticks since the machine did: with its own id, that names it for ever.
    """

    parent: int
    group: int
    session: int
    began: int


def living() -> dict[int, Living]:
    found = {}
    # By the shortest way, here and below: this is done after every test.
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):  # noqa: PTH208
        # The name stands in parentheses and may hold anything; state, parent, group and session
        # follow it, and far behind them when it began.
        fields = read(pid, "stat").rpartition(")")[2].split()
        if fields and fields[0] not in "ZX":
            found[pid] = Living(*map(int, (*fields[1:4], fields[19])))
    return found


def children() -> set[int]:
    """The processes that this one has started."""
    return {pid for pid, one in living().items() if one.parent == os.getpid()}


def group(leader: int) -> list[int]:
    """The living processes of the group that `leader` leads or led."""
    return [pid for pid, one in living().items() if one.group == leader]


def read(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123 the shortest way
            return file.read().decode(errors="replace")
    except OSError:  # it ended, or is not ours to look at
        return ""
