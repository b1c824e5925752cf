"""Leases: the right to work on one thing for a while, renewed as long as the work goes on."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from batchq.common.points import point

__all__ = ["Lease", "Renewed", "after_fork", "kept", "start_keeping", "stop_keeping"]

logger = logging.getLogger("batchq.lease")


@dataclass(frozen=True, slots=True)
class Lease:
    """Where it is held and by whom. ``run_of`` is the id and the name of the task whose run it is
    the lease of, with a blank between. ``owner`` is the hash whose field ``run`` names the rightful
    holder, for leases that are a matter of courtesy and fenced by that field. ``since`` is a moment
    by this process's clock before the lease was asked for. Its time runs from there, not from when
    the answer was read: a process may sleep in between.
    """

    key: str
    token: str
    owner: str = ""
    run_of: str = ""
    since: float = field(default_factory=time.monotonic, compare=False)


class Renewer(Protocol):
    """The journal, as far as this module needs it."""

    def renew(self, leases: Iterable[Lease], duration: timedelta) -> list[bool]: ...


@dataclass(eq=False, slots=True)
class Renewed:
    """A lease under renewal. ``lost`` turns true when another has it."""

    journal: Renewer
    lease: Lease
    duration: timedelta
    renewed_at: float
    lost: bool = False
    due_at: float = field(init=False)
    """When it is to be renewed, or tried to: a third of its time after the last time."""

    def __post_init__(self) -> None:
        self.put_off(self.renewed_at)

    def put_off(self, now: float) -> None:
        self.due_at = now + self.duration.total_seconds() / 3

    def is_sure(self) -> bool:
        """False where the lease may have run out: its renewals are late, or it was lost."""
        return not self.lost and time.monotonic() - self.renewed_at < self.duration.total_seconds()

    def renew(self) -> None:
        asked_at = time.monotonic()
        point("renew.call")
        if self.journal.renew([self.lease], self.duration)[0]:
            self.renewed_at = asked_at
        else:
            self.lost = True
        point("renew.called")


class _Keeper:
    """One thread in a process renews all leases that the process holds.

    It sleeps until the first of them is due, whatever else begins and ends meanwhile: most runs of
    a body are over before their lease is, and to wake it at each would cost them more than that.
    """

    def __init__(self) -> None:
        self._kept: set[Renewed] = set()
        self._sooner = threading.Condition()
        self._wakes_at = math.inf
        self._pid = 0

    def add(self, renewed: Renewed) -> None:
        with self._sooner:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._renew, name="batchq-leases", daemon=True).start()
            self._kept.add(renewed)
            if renewed.due_at < self._wakes_at:
                self._wakes_at = renewed.due_at
                self._sooner.notify()

    def remove(self, renewed: Renewed) -> None:
        with self._sooner:
            self._kept.discard(renewed)

    def _due(self) -> list[Renewed]:
        """Those that are to be renewed now, put off to their next time; waits until there are."""
        with self._sooner:
            while not (due := [one for one in self._kept if one.due_at <= time.monotonic()]):
                self._wakes_at = min((one.due_at for one in self._kept), default=math.inf)
                left = self._wakes_at - time.monotonic()
                self._sooner.wait(None if left == math.inf else max(left, 0))
        for one in due:
            one.put_off(time.monotonic())
        return due

    def _renew(self) -> None:
        while True:
            due = self._due()
            for kept in due:
                try:
                    kept.renew()
                except Exception as error:  # noqa: BLE001 Redis may be away; the next round tries again
                    logger.warning(
                        "lease %s could not be renewed (%s); it is tried again, and should it end "
                        "meanwhile another worker takes over",
                        *(kept.lease.key, error),
                        extra={"action": "renew"},
                    )
                    break


_keeper = _Keeper()


def after_fork() -> None:
    """The parent's thread and its leases stay with the parent; its lock may be held for good."""
    global _keeper  # noqa: PLW0603
    _keeper = _Keeper()


def start_keeping(journal: Renewer, lease: Lease, duration: timedelta) -> Renewed:
    """Renew a lease that was just taken, until `stop_keeping`."""
    renewed = Renewed(journal, lease, duration, lease.since)
    _keeper.add(renewed)
    return renewed


def stop_keeping(renewed: Renewed) -> None:
    _keeper.remove(renewed)


@contextmanager
def kept(journal: Renewer, lease: Lease, duration: timedelta) -> Generator[Renewed]:
    """Within it, a lease that was just taken is renewed."""
    renewed = start_keeping(journal, lease, duration)
    try:
        yield renewed
    finally:
        stop_keeping(renewed)
