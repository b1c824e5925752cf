"""A batch whose validation fails is asked again in parts until its bad lines are found."""

from __future__ import annotations

from typing import Any

import pytest

from batchq.decide.validation import split_budget
from batchq.flow.fetch import fetch
from batchq.flow.flush import flush
from batchq.flow.rescue import rescue
from batchq.journal import BatchRecord
from batchq.prompt import Outcome
from tests.apps.base import make_app
from tests.harness import Emulator, Server, wait_until
from tests.journals import Asked, capture, chat, outcomes
from tests.test_flow import Steps, finished

MARK = "spoils the file"


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Steps:
    app = make_app("split", batchq_poll_first=0.05, batchq_poll_longest=0.3, batchq_tick=0.2)
    return Steps(server, emulator, app)


def ask(steps: Steps, count: int, *bad: int) -> list[Asked]:
    """As many tasks, those at the places ``bad`` with a line that the provider does not take."""
    texts = [f"{MARK} {at}" if at in bad else f"line {at}" for at in range(count)]
    return [capture(steps.journal, chat(text)) for text in texts]


def results(steps: Steps, asked: list[Asked]) -> list[Outcome | None]:
    return [outcomes(steps.journal, one)[0] for one in asked]


def until_all_are_answered(steps: Steps, asked: list[Asked]) -> int:
    """Go on until no task waits; returns how many batches that took."""
    steps.app.tasks["batchq.flush"].delay(everything=True)

    def over() -> bool:
        flush(steps.app)
        rescue(steps.app)
        steps.step()
        return steps.journal.waiting.count() == 0 and not steps.journal.batches.open()

    wait_until(over, description="every task has its answer", timeout=60)
    assert None not in results(steps, asked)
    ledger = steps.emulator.ledger()
    ran = [line["ok"] + line["failed"] for line in ledger["lines"].values()]
    assert max(ran, default=0) <= 1, "nothing is billed twice"
    created: int = ledger["batches_created"]
    return created


def failures(steps: Steps, asked: list[Asked]) -> list[int]:
    return [at for at, one in enumerate(results(steps, asked)) if one and not one.succeeded]


def test_a_line_with_a_number_costs_one_batch_more(steps: Steps) -> None:
    steps.emulator.fault("invalid_line", containing=MARK)
    asked = ask(steps, 1000, 617)
    created = until_all_are_answered(steps, asked)
    print(f"1 bad line in 1,000, with its number: {created - 1} extra batches")  # noqa: T201
    assert created - 1 <= 2
    assert failures(steps, asked) == [617]


def test_a_line_without_a_number_is_found_by_halves(steps: Steps) -> None:
    steps.emulator.fault("invalid_line", containing=MARK, numbered=False)
    asked = ask(steps, 1000, 617)
    created = until_all_are_answered(steps, asked)
    print(f"1 bad line in 1,000, without a number: {created - 1} extra batches")  # noqa: T201
    assert created - 1 <= split_budget(1000) == 22
    assert failures(steps, asked) == [617]
    assert steps.journal.tallies.counters()["answered"] == 1000


def test_several_lines_without_a_number_are_found(steps: Steps) -> None:
    """What passes proves that the cause is in some of the lines, and pays for more parts."""
    steps.emulator.fault("invalid_line", containing=MARK, numbered=False)
    bad = [3, 20, 21, 90]
    asked = ask(steps, 100, *bad)
    created = until_all_are_answered(steps, asked)
    print(f"4 bad lines in 100, without numbers: {created - 1} extra batches")  # noqa: T201
    assert created - 1 <= 4 * split_budget(100)
    assert failures(steps, asked) == bad


def test_what_all_lines_share_ends_within_the_budget(steps: Steps) -> None:
    """No billing, say: the search for one bad line would go on to the last of all lines."""
    steps.emulator.fault("invalid_line", every=1, numbered=False, times=None)
    asked = ask(steps, 300)
    created = until_all_are_answered(steps, asked)
    print(f"300 lines that all fail: {created - 1} extra batches")  # noqa: T201
    assert created - 1 <= split_budget(300)
    assert failures(steps, asked) == list(range(300))


def test_a_passing_trouble_costs_one_batch_and_no_attempt(steps: Steps) -> None:
    steps.emulator.fault("invalid_line", every=1, numbered=False, times=1)
    asked = ask(steps, 5)
    assert until_all_are_answered(steps, asked) == 2
    assert failures(steps, asked) == []


def test_a_number_that_is_in_no_file_is_as_good_as_none(steps: Steps) -> None:
    asked = ask(steps, 4)
    record = refused(steps, asked, line=99)
    fetch(steps.app, record.id)
    (again,) = steps.journal.batches.open()
    assert (again.origin, again.lines) == (record.id, 4)


def refused(steps: Steps, asked: list[Asked], **options: Any) -> BatchRecord:
    steps.emulator.fault("invalid_line", every=1, numbered=False, times=1)
    return finished(steps, *asked)


@pytest.mark.parametrize("moved", [1, 3, 5])
def test_a_split_that_broke_off_is_finished(steps: Steps, moved: int) -> None:
    """The worker died in the middle of a half, or between the two, before the batch was closed.

    Where one line was left then, it was taken for the only one of the file, and got the error.
    """
    steps.emulator.fault("invalid_line", containing=MARK, numbered=False)
    asked = ask(steps, 6, 2)
    flush(steps.app, everything=True)
    parts = steps.until(
        lambda: [one for one in steps.journal.batches.open() if one.origin and one.status],
        "the file is asked again as a whole",
    )
    record: BatchRecord = parts[0]
    half = steps.journal.lines.left_in(record.id)[:moved]
    assert steps.journal.batches.split(record, half, "half", budget=record.budget) == "MOVED"
    until_all_are_answered(steps, asked)
    assert failures(steps, asked) == [2]
