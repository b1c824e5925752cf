"""Whether what waits in lanes can go: accounts that are paused or gone, lanes that do not move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from batchq.common.troubles import (
    StuckReason,
    TroubleReason,
    account_is_paused,
    lane_is_stuck,
)
from batchq.common.words import many
from batchq.decide.flush import is_stuck, why_stuck
from batchq.observe.diagnosis.finding import Finding, info, problem
from batchq.observe.reading import kind_of

if TYPE_CHECKING:
    from batchq.journal import AccountPause, LaneRecord
    from batchq.observe.diagnosis.seen import Seen
    from batchq.observe.reading import Reading
    from batchq.prompt import Lane
    from batchq.settings.record import Settings

__all__ = ["lanes", "stuck"]


def lanes(seen: Seen) -> Iterator[Finding]:
    if seen.reading is None:
        return
    yield from map(_of_pause, seen.reading.paused)
    for account in sorted(_gone(seen.reading)):
        what = f"account {account!r} is not in batchq_accounts, and prompts wait under it"
        yield problem(what, "put it back: nothing of it is submitted, polled or fetched")
    do_not_move = list(stuck(seen.reading.lanes, seen.reading.at_head, seen.settings))
    for lane in seen.reading.lanes:
        yield from _of_lane(seen.reading, lane, moves=lane not in do_not_move)


def _of_lane(reading: Reading, record: LaneRecord, *, moves: bool) -> Iterator[Finding]:
    name = record.lane.name
    if not moves:
        kind = kind_of(record.lane)
        queued, learned = reading.queued[kind], reading.learned.get(kind)
        why = why_stuck(record, reading.config, learned=learned, queued=queued)
        what, do = lane_is_stuck(name, why, record.prompts), _MENDS[why]
        yield problem(what, do, path=f"lane/{name}")
    elif record.held:
        what = f"lane {name} is held, with {many(record.prompts, 'prompt')}"
        yield info(what, "`release` lets it go", path=f"lane/{name}")
    elif record.paused is not None:
        what = f"the provider has no room for lane {name}"
        yield info(what, "it goes on by itself, as batches end", path=f"lane/{name}")


_MENDS: Mapping[StuckReason, str] = {
    "no_room": "it goes on once batches have ended; a higher limit at the provider lets it go now",
    "no_account": "put its account back into batchq_accounts",
    "unknown": "look at the log of the workers that consume Batchq's queue",
}


def stuck(
    lanes: Iterable[LaneRecord], at_head: Mapping[Lane, timedelta], settings: Settings
) -> Iterator[LaneRecord]:
    """The lanes that do not move, of those that ought to: ``at_head`` has for how long the first
    prompt of each of these has been seen where it is.
    """
    for record in lanes:
        if record.lane in at_head and is_stuck(at_head[record.lane], settings):
            yield record


def _of_pause(pause: AccountPause) -> Finding:
    what = account_is_paused(pause.account, pause.reason, pause.code)
    tries = f"batch {pause.probe} tries" if pause.probe else "a small batch tries now and then"
    now = f"`release --account {pause.account}` lets it go on at once"
    do = f"{_ENDS[pause.reason]}; {tries} whether it is over, and {now}"
    return problem(what, do, since=pause.since, path=f"account/{pause.account}")


_ENDS: Mapping[TroubleReason, str] = {
    "credit": "pay for it, or raise its limit at the provider",
    "access": "look at its key in batchq_accounts, and at what the provider lets it do",
    "file": "look at the provider's status page: it goes on by itself",
    "unknown": "look at the provider's status page, and at the batch with `show`",
}


def _gone(reading: Reading) -> set[str]:
    named = {one.lane.account for one in reading.lanes}
    return (named | {one.lane.account for one in reading.batches}) - set(reading.config.accounts)
