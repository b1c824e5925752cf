"""Whether tasks get on: none waits for too long or runs for too long, and nothing is dead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from batchq.common.words import many, span
from batchq.decide.poll import longest_wait
from batchq.observe.diagnosis.finding import Finding, problem, warning

if TYPE_CHECKING:
    from batchq.observe.diagnosis.seen import Seen
    from batchq.observe.reading import Reading

__all__ = ["own_errors", "tasks"]


def tasks(seen: Seen) -> Iterator[Finding]:
    reading = seen.reading
    if reading is None:
        return
    if reading.overdue:
        longest = longest_wait(seen.settings)
        what = f"{many(reading.overdue, 'task')} waited for longer than {span(longest)}"
        yield warning(what, "`batches --state open` shows what holds them up")
    for one in reading.long_runs:
        longest = seen.settings.long_run
        what = f"the body of {one.name} [{one.task_id}] has run for longer than {span(longest)}"
        do = "look what it waits for, or give it a time limit; the log names it"
        yield warning(what, do, since=one.began_at, path=f"task/{one.task_id}")
    if reading.dead:
        what = f"{_counted(reading)} dead: set aside until somebody looks"
        yield problem(what, "`dead` says why, `retry` tries again", path="dead")


def _counted(reading: Reading) -> str:
    counts = {"task": len(reading.dead_tasks), "batch": len(reading.dead_batches)}
    parts = [many(count, what) for what, count in counts.items() if count]
    return f"{' and '.join(parts)} {'is' if reading.dead == 1 else 'are'}"


def own_errors(seen: Seen) -> Iterator[Finding]:
    for one in () if seen.reading is None else seen.reading.own_errors:
        at = datetime.fromtimestamp(one.last / 1000, tz=UTC).isoformat(" ", "seconds")
        what = f"Batchq itself has failed with {one.what}, {many(one.times, 'time')}, last at {at}"
        yield warning(what, "report it, with the frames in the log; all else goes on")
