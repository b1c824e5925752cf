"""Whatever comes back, every task ends right: one whole journey for each thing that goes wrong."""

from __future__ import annotations

import pytest

from batchq.settings.config import settings
from tests.apps import outcomes
from tests.harness import wait_until
from tests.outcomes import World


def test_answers(world: World) -> None:
    world.ask(5)
    assert world.errors() == []
    assert len({result["answer"] for result in world.results()}) == 5
    world.check(batches=1)
    (batch,) = world.batches()
    assert (batch["status"], batch["answered"], batch["lines"]) == ("completed", "5", "5")


# A line fails


def test_a_line_that_is_refused_is_its_task_s_own_error(world: World) -> None:
    world.emulator.fault("line_error", first=1, code="invalid_value")
    world.ask(3)
    assert world.errors() == [("BadRequestError", 400, "invalid_value")]
    world.check(batches=1)


def test_an_error_is_raised_once(world: World) -> None:
    """The SDK's own retries do not set in: the answer will not change."""
    world.emulator.fault("line_error", every=1, status=422)
    (text,) = world.ask(1)
    assert world.errors() == [("UnprocessableEntityError", 422, "invalid_value")]
    assert world.stack.processes[0].output().count(f"raised for {text}") == 1
    world.check(batches=1)


def test_all_lines_fail_and_there_is_no_output_file(world: World) -> None:
    world.emulator.fault("all_lines_fail")
    world.ask(3)
    assert world.errors() == [("BadRequestError", 400, "invalid_value")] * 3
    world.check(batches=1)


@pytest.mark.parametrize("fault", ["rows_429", "rows_500", "rows_503"])
def test_what_the_sdk_would_retry_is_asked_again(world: World, fault: str) -> None:
    world.emulator.fault(fault, first=1)
    world.ask(3)
    assert world.errors() == []
    world.check(batches=2, repeated=1)


def test_a_rate_limit_that_does_not_end_is_the_sdk_s_error(world: World) -> None:
    world.emulator.fault("rows_429", every=1, times=None)
    world.ask(2)
    assert world.errors() == [("RateLimitError", 429, "rate_limit_exceeded")] * 2
    world.check(batches=3, repeated=4)


# A line does not run, or its row is not there


def test_what_a_batch_had_no_time_for_is_asked_again(world: World) -> None:
    world.emulator.fault("partial_expiry", at=0.5)
    world.ask(4)
    assert world.errors() == []
    world.check(batches=2)
    assert [batch["status"] for batch in world.batches()] == ["expired", "completed"]


def test_a_prompt_that_never_gets_its_time_ends_with_an_error(world: World) -> None:
    world.emulator.fault("partial_expiry", at=0, times=None)
    world.ask(2)
    assert world.errors() == [("InternalServerError", 504, "batch_expired")] * 2
    world.check(batches=3)


def test_what_someone_cancelled_is_asked_again(world: World) -> None:
    world.emulator.fault("cancel_midway", at=0.5)
    world.ask(4)
    assert world.errors() == []
    world.check(batches=2)


def test_answers_that_a_cancel_withheld_are_asked_again(world: World) -> None:
    world.emulator.fault("cancel_midway", at=0.5, partial=False)
    world.ask(4)
    assert world.errors() == []
    world.check(batches=2, repeated=2)


def test_a_prompt_that_is_cancelled_each_time_ends_with_an_error(world: World) -> None:
    world.emulator.fault("cancel_midway", at=0, times=None)
    world.ask(2)
    assert world.errors() == [("InternalServerError", 503, "batch_cancelled")] * 2
    world.check(batches=3)


@pytest.mark.parametrize(
    ("fault", "repeated"),
    [("missing_rows", 1), ("corrupt_row", 1), ("null_response", 1), ("status_code_zero", 1)],
)
def test_a_line_without_an_answer_is_asked_again(world: World, fault: str, repeated: int) -> None:
    world.emulator.fault(fault, first=1)
    world.ask(3)
    assert world.errors() == []
    world.check(batches=2, repeated=repeated)


def test_a_prompt_that_never_gets_a_row_ends_with_an_error(world: World) -> None:
    world.emulator.fault("missing_rows", first=1, times=None)
    world.ask(1)
    for _ in range(3):
        # Its only row is missing, so the batch has no file at all: those may be late.
        (missed,) = wait_until(
            lambda: [batch for batch in world.open() if batch.looks],
            description="the files of a batch are missed",
        )
        world.stack.advance(settings(outcomes.app).files_grace)
        wait_until(
            lambda missed=missed: missed.id not in {batch.id for batch in world.open()},  # type: ignore[misc]
            description="they are missed no longer",
        )
    assert world.errors() == [("InternalServerError", 503, "not_answered")]
    world.check(batches=3, repeated=2)


def test_a_last_line_that_is_cut_is_asked_again(world: World) -> None:
    world.emulator.fault("truncated_last_line")
    world.ask(3)
    assert world.errors() == []
    world.check(batches=2, repeated=1)


# Rows that are too many, or odd


def test_a_row_that_comes_twice_counts_once(world: World) -> None:
    world.emulator.fault("duplicate_rows", every=1)
    world.ask(3)
    assert world.errors() == []
    world.check(batches=1)
    (batch,) = world.batches()
    assert (batch["answered"], batch["already"]) == ("3", "3")


def test_a_success_stands_against_an_error_for_the_same_line(world: World) -> None:
    world.emulator.fault("conflicting_duplicate", every=1)
    world.ask(3)
    assert world.errors() == []
    world.check(batches=1)


def test_a_success_stands_against_an_error_before_it(world: World) -> None:
    world.emulator.fault("conflicting_duplicate", every=1, status=400, in_output=True)
    world.ask(8)
    assert world.errors() == []
    world.check(batches=1)


def test_a_line_that_was_garbled_on_its_way_is_read_again(world: World) -> None:
    """It is paid for, and whole where it lies: only after a third reading is it asked anew."""
    world.emulator.fault("content_garbled", times=2)
    world.ask(3)
    assert world.errors() == []
    assert world.emulator.fired("content_garbled") == 2
    world.check(batches=1)


@pytest.mark.parametrize("stranger", ["nobody-asked-this", "nobody-0", "", "é-7", "x" * 300])
def test_a_row_nobody_asked_for_is_counted_and_no_more(world: World, stranger: str) -> None:
    world.emulator.fault("unknown_custom_id", custom_id=stranger)
    world.ask(2)
    assert world.errors() == []
    world.check(batches=1 if stranger else None, repeated=0)
    batch = world.batches()[0]
    assert batch["unknown" if stranger else "unreadable"] == "1"
