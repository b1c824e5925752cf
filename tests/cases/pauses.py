"""A bench whose accounts are paused: its rounds of batches, with the pauses of production."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from openai import OpenAI

from batchq.events import Event
from batchq.flow.fetch import fetch
from batchq.flow.flush import flush
from batchq.flow.poll import poll
from batchq.journal import AccountPause
from tests.capture.bench import Bench, ask
from tests.harness import wait_until

__all__ = [
    "MINUTE",
    "PAUSES",
    "all_answered",
    "asked",
    "attempts",
    "batches",
    "events",
    "pass_the_pause",
    "paused",
    "round_of",
    "sealed",
    "to_its_end",
]

client = OpenAI()

MINUTE = timedelta(minutes=1)

#: Settings with which an account pauses for a minute at first, and for an hour at the longest.
PAUSES = {"batchq_poll_first": 5, "batchq_poll_longest": 300}


def asked(
    bench: Bench, count: int = 3, name: str = "text", *, by: Any = client, **options: Any
) -> list[Any]:
    """Some tasks, up to their questions."""

    @bench.task(name=f"say_{name}", **options)
    def say(text: str) -> str:
        return ask(by, text)

    sent = [bench.send(say, f"{name} {at}") for at in range(count)]
    bench.deliver()
    return sent


def paused(bench: Bench) -> AccountPause | None:
    return bench.journal.pauses.get("default")


def pass_the_pause(bench: Bench) -> None:
    before = paused(bench)
    assert before is not None
    bench.journal.clock.advance(before.next_try + timedelta(seconds=1))


def round_of(bench: Bench) -> None:
    """One round of batches: of all that waits, or of the small one that tries."""
    sealed(bench)
    for record in bench.journal.batches.open():
        to_its_end(bench, record.id)
    bench.deliver()


def sealed(bench: Bench) -> list[str]:
    """Seal all that may go now; returns the batches."""
    bench.journal.clock.advance(timedelta(seconds=1))
    flush(bench.app, everything=True)
    found = [record.id for record in bench.journal.batches.open()]
    for batch_id in found:
        flush(bench.app, batch_id)
    return found


def to_its_end(bench: Bench, batch_id: str) -> None:
    def over() -> bool:
        bench.emulator.advance(MINUTE)
        bench.journal.clock.advance(timedelta(seconds=6))
        record = bench.journal.batches.get(batch_id)
        assert record is not None
        poll(bench.app, batch_id, record.chain)
        fetch(bench.app, batch_id)
        record = bench.journal.batches.get(batch_id)
        return record is None or record.state == "closed"

    wait_until(over, description=f"{batch_id} is over", every=0.005)


def attempts(bench: Bench, result: Any) -> list[int]:
    record = bench.journal.views.task(result.id)
    assert record is not None
    return [call.attempts for call in record.calls]


def events(bench: Bench, kind: type[Event]) -> list[Any]:
    return [one for one in bench.journal.events.last(1000) if isinstance(one, kind)]


def all_answered(results: list[Any]) -> bool:
    return [one.state for one in results] == ["SUCCESS"] * len(results)


def batches(bench: Bench) -> list[int]:
    """How many prompts each batch had that is over, in the order of their seals."""
    records = bench.journal.batches.closed(100)
    return [one.lines for one in sorted(records, key=lambda one: one.sealed_at)]
