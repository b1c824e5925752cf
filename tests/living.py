"""The processes of this machine that live, as /proc has them: Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Living", "children", "group", "held_up", "living", "present", "read"]


class Living(NamedTuple):
    """A process that is not a zombie: who started it, its group and its session, by their ids."""

    parent: int
    group: int
    session: int


def present() -> dict[int, int]:
    """The id of each process, zombies too, and the number of its folder in /proc: the two together
    are no other process's, ever.
    """
    # By the shortest way, here and below: this is done after every test.
    with os.scandir("/proc") as folders:
        return {int(one.name): one.inode() for one in folders if one.name.isdigit()}


def living(pids: Iterable[int] | None = None) -> dict[int, Living]:
    """Those of these processes that live; left out, of all."""
    found = {}
    for pid in present() if pids is None else pids:
        # The name stands in parentheses and may hold anything; state, parent, group and session
        # follow it.
        fields = read(pid, "stat").rpartition(")")[2].split(maxsplit=4)
        if fields and fields[0] not in "ZX":
            found[pid] = Living(*map(int, fields[1:4]))
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


def held_up(pid: int) -> float:
    """The seconds in which a process's first thread could have run and had no processor."""
    fields = read(pid, "schedstat").split()  # Nanoseconds: ran, waited; then how often.
    return int(fields[1]) / 1e9 if fields else 0.0
