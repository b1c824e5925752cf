"""What an operator should know first: said above everything else on the Batches page. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from batchq.celery_side.stand_in import MISSED
from batchq.flower.overview import Snapshot

__all__ = ["Alert", "alerts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One sentence. ``at`` is when what it says last was otherwise (0: it does not matter)."""

    level: Literal["danger", "warning", "info"]
    words: str
    at: int = 0
    anchor: str = ""


def alerts(snapshot: Snapshot, *, tick: timedelta) -> list[Alert]:
    """The worst first."""
    found = [
        *(*_dead(snapshot), *_beat(snapshot, tick), *_overdue(snapshot)),
        *(*_paused(snapshot), *_long(snapshot), *_redis(snapshot), *_own(snapshot)),
    ]
    return sorted(found, key=lambda alert: ("danger", "warning", "info").index(alert.level))


def _dead(snapshot: Snapshot) -> Iterator[Alert]:
    dead = snapshot.status.dead
    if dead:
        words = f"{dead:,} tasks or batches are set aside and wait for somebody to look."
        if dead == 1:
            words = "A task or batch is set aside and waits for somebody to look."
        yield Alert(level="danger", words=words, anchor="batchq-dead")


def _beat(snapshot: Snapshot, tick: timedelta) -> Iterator[Alert]:
    seen, stands_in = snapshot.status.beat_seen, snapshot.status.stands_in
    if seen is not None and seen <= MISSED * tick:
        return
    at = 0 if seen is None else snapshot.now - round(seen.total_seconds()) * 1000
    never = "Beat has never been seen" if seen is None else "Beat is away"
    if stands_in is None:
        words = f"{never}, and no worker stands in for it: nothing is flushed, polled or rescued."
        yield Alert(level="danger", words=words, at=at)
    else:
        words = f"{never}; the worker {stands_in} stands in for it."
        yield Alert(level="warning", words=words, at=at)


def _overdue(snapshot: Snapshot) -> Iterator[Alert]:
    overdue = snapshot.status.overdue
    if overdue:
        what = "1 task has" if overdue == 1 else f"{overdue:,} tasks have"
        words = f"{what} waited longer than the settings allow for."
        yield Alert(level="warning", words=words)


def _paused(snapshot: Snapshot) -> Iterator[Alert]:
    for one in snapshot.status.paused:
        words = (
            f"The account {one.account} is paused, because {one.because}. Its prompts wait, and go "
            "on by themselves once it is over."
        )
        yield Alert(level="danger", words=words, at=one.since)


def _long(snapshot: Snapshot) -> Iterator[Alert]:
    for one in snapshot.status.long_runs:
        words = f"The body of {one.name} [{one.task_id}] has run for long."
        yield Alert(level="warning", words=words, at=one.began_at)


def _redis(snapshot: Snapshot) -> Iterator[Alert]:
    levels: dict[str, Literal["danger", "warning", "info"]] = {
        "unsafe": "danger",
        "warning": "warning",
        "info": "info",
    }
    for finding in snapshot.status.findings:
        yield Alert(level=levels[finding.level], words=f"Redis: {finding}.")


def _own(snapshot: Snapshot) -> Iterator[Alert]:
    for one in snapshot.status.own_errors:
        words = (
            f"Batchq itself has failed: {one.what} (times: {one.times:,}). The log has its frames."
        )
        yield Alert(level="warning", words=words, at=one.last)
