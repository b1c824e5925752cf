"""When a lane is flushed, how late it is, and whether it is stuck."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from batchq.common.troubles import account_is_paused
from batchq.decide.room import tokens_allowed

if TYPE_CHECKING:
    from batchq.common.troubles import StuckReason
    from batchq.journal import AccountPause, LaneRecord
    from batchq.settings.record import Settings

__all__ = [
    "NextFlush",
    "is_due",
    "is_due_but_for_its_account",
    "is_stuck",
    "late_by",
    "next_flush",
    "ought_to_go",
    "why_stuck",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextFlush:
    """When a lane is flushed next, and why then. ``due_in`` is None where no clock decides."""

    due_in: timedelta | None
    why: str

    @property
    def is_now(self) -> bool:
        return self.due_in == _NOW


_NOW = timedelta(0)


def next_flush(lane: LaneRecord, settings: Settings) -> NextFlush:
    """When a lane is flushed: once it is full enough, or its oldest prompt has waited long enough.

    What has waited since before everything was to be flushed (``lane.called``) is due until it
    goes, for the provider may have had no room for it then.
    """
    if lane.held:
        return NextFlush(due_in=None, why="it is held")
    if lane.lane.account not in settings.accounts:
        return NextFlush(due_in=None, why=f"account {lane.lane.account!r} is not in the settings")
    if lane.account_pause is not None:
        return _after_its_pause(lane.account_pause)
    if lane.paused is not None:
        return NextFlush(due_in=lane.paused, why="the provider has no room for it before that")
    if not lane.prompts:
        return NextFlush(due_in=None, why="it is empty")
    if lane.prompts >= settings.flush_prompts:
        return NextFlush(due_in=_NOW, why="it has as many prompts as batchq_flush_prompts")
    if lane.bytes >= settings.accounts[lane.lane.account].limits.bytes:
        return NextFlush(due_in=_NOW, why="it fills a file")
    if settings.flush_bytes is not None and lane.bytes >= settings.flush_bytes:
        return NextFlush(due_in=_NOW, why="it has as many bytes as batchq_flush_bytes")
    if lane.called is not None and lane.oldest >= lane.called:
        return NextFlush(due_in=_NOW, why="it was asked for")
    return _by_the_clock(lane, settings)


def _after_its_pause(pause: AccountPause) -> NextFlush:
    why = account_is_paused(pause.account, pause.reason, pause.code)
    if pause.probe:
        return NextFlush(due_in=None, why=f"{why}; a small batch tries whether it still is")
    # Its account alone makes nothing due.
    return NextFlush(due_in=max(pause.next_try, _A_MOMENT), why=f"{why}; a small batch tries then")


def _by_the_clock(lane: LaneRecord, settings: Settings) -> NextFlush:
    waits: list[NextFlush] = []
    if settings.flush_after is not None:
        left = max(_NOW, settings.flush_after - lane.oldest)
        why = "its oldest prompt has waited for batchq_flush_after by then"
        waits.append(NextFlush(due_in=left, why=why))
    for schedule in settings.flush_at:
        left = max(_NOW, schedule.remaining_estimate(schedule.now()))
        # At its time everything is called for; this alone makes nothing due.
        waits.append(NextFlush(due_in=max(left, _A_MOMENT), why="batchq_flush_at says so"))
    nothing = NextFlush(due_in=None, why="it is neither full nor is there a time for it")
    return min(waits, key=lambda one: one.due_in or _NOW, default=nothing)


_A_MOMENT = timedelta(seconds=1)


def is_due(lane: LaneRecord, settings: Settings) -> bool:
    """True where a lane is to be flushed now."""
    return lane.prompts > 0 and next_flush(lane, settings).is_now


def is_due_but_for_its_account(lane: LaneRecord, settings: Settings) -> bool:
    """True where a lane would be flushed now if its account were not paused."""
    return is_due(replace(lane, account_pause=None), settings)


def late_by(lane: LaneRecord, settings: Settings) -> timedelta:
    """How long a lane has been due by the clock, or by somebody's word; 0 where it is not, is held,
    or its account is paused.

    Since when a lane has been full nobody knows, so that alone makes it late by nothing.
    """
    if lane.held or not lane.prompts or lane.account_pause is not None:
        return _NOW
    since = [_NOW]
    if settings.flush_after is not None:
        since.append(lane.oldest - settings.flush_after)
    if lane.called is not None and lane.oldest >= lane.called:
        since.append(lane.called)
    return max(since)


def ought_to_go(lane: LaneRecord, settings: Settings) -> bool:
    """True where a lane is to be flushed now, or would be if there were room at its provider, or an
    account. What an operator holds is to wait.
    """
    if lane.held or not lane.prompts:
        return False
    gone = lane.lane.account not in settings.accounts
    return gone or is_due(replace(lane, paused=None), settings)


def is_stuck(at_head: timedelta, settings: Settings) -> bool:
    """True where a lane that is due has had the same first prompt for too long.

    So long that a provider without room was asked again three times, and more: what waits for its
    next flush, or is on its way back from a batch, is gone by then.
    """
    return at_head >= 3 * settings.poll_longest + 3 * settings.tick


def why_stuck(
    record: LaneRecord, settings: Settings, *, learned: int | None, queued: int
) -> StuckReason:
    """What is known of a stuck lane: ``queued`` tokens are at the provider, which took ``learned``
    when it last said so.
    """
    lane = record.lane
    if lane.account not in settings.accounts:
        return "no_account"
    room = tokens_allowed(settings.accounts[lane.account].limits, lane.model, learned) - queued
    # A prompt for which alone there is no room goes all the same, once nothing is queued.
    fits = not queued or room * record.prompts >= record.tokens
    return "unknown" if fits else "no_room"
