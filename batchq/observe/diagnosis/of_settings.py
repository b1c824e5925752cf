"""Whether Batchq's own settings fit together, and whether this process has what they name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from batchq.common.words import span
from batchq.decide.poll import longest_wait
from batchq.observe.diagnosis.finding import Finding, info, problem, warning

if TYPE_CHECKING:
    from batchq.observe.diagnosis.seen import Seen
    from batchq.settings.record import Settings

__all__ = ["secrets", "storage", "times"]

_DAY = timedelta(days=1)


def times(seen: Seen) -> Iterator[Finding]:
    config = seen.settings
    kept = config.keep_journal * 9 / 10
    in_lane = _DAY if config.flush_after is None else config.flush_after
    in_batch = longest_wait(config) / config.max_attempts - in_lane
    if config.flush_after is None and not config.flush_at:
        what = (
            f"lanes are flushed by their size only (batchq_flush_prompts, {config.flush_prompts:,})"
            ": what is left over waits until its journal runs out, and gets an error"
        )
        yield problem(what, "set batchq_flush_after or batchq_flush_at")
    for asked, why in _waits_in_lane(config):
        if asked > kept:
            what = f"a prompt waits in its lane for up to {span(asked)} ({why}), and gets an error "
            what += f"after {span(kept)} (batchq_keep_journal)"
            yield problem(what, "flush more often, or raise batchq_keep_journal")
    if in_batch > kept:
        what = (
            f"one batch may take {span(in_batch)}, and what waits gets an error after {span(kept)} "
            "(batchq_keep_journal), though it is paid for"
        )
        yield problem(what, f"raise batchq_keep_journal to {span(in_batch * 2)} or more")
    if config.batch_deadline < _DAY:
        what = (
            f"a batch is cancelled after {span(config.batch_deadline)} (batchq_batch_deadline), "
            "and the provider takes up to a day"
        )
        yield warning(what, "set it to more than 24 hours, or its prompts may be paid for twice")


def _waits_in_lane(config: Settings) -> Iterator[tuple[timedelta, str]]:
    if config.flush_after is not None:
        yield config.flush_after, "batchq_flush_after"
        return
    now = datetime.now(UTC)
    nearest = [one.remaining_estimate(now) for one in config.flush_at]
    if nearest:
        yield min(nearest), "batchq_flush_at"


def storage(seen: Seen) -> Iterator[Finding]:
    if seen.storage_error:
        do = "mount it here and wherever workers run, with room to write, or name another"
        yield problem(seen.storage_error, do)


def secrets(seen: Seen) -> Iterator[Finding]:
    if seen.set_up is not None and seen.set_up.key_error:
        do = "give this process and the workers the keys that the journal was written with"
        yield problem(seen.set_up.key_error, do)
    if seen.settings.show_prompts:
        what = "the text of prompts and answers may be shown to operators (batchq_show_prompts)"
        yield info(what, "turn it off where they should not read it")
