"""Whatever becomes of a whole batch, every task ends right: one journey for each thing."""

from __future__ import annotations

from typing import Any

import pytest

from batchq.settings.config import settings
from tests.apps import outcomes
from tests.harness import wait_until
from tests.outcomes import World

FILES_GRACE = settings(outcomes.app).files_grace
DEADLINE = settings(outcomes.app).batch_deadline


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("blank_lines", {}),
        ("no_trailing_newline", {}),
        ("huge_row", {"bytes": 2_000_000}),
        ("empty_string_file_ids", {}),
        ("zero_byte_files", {}),
        ("uppercase_status", {}),
        ("null_counts", {}),
        ("unknown_status", {"polls": 3}),
        ("completed_before_files", {"seconds": 0.5}),
        ("content_404_once", {}),
        ("content_502", {}),
        ("content_cut", {"at": 0.5}),
        ("content_cut", {"at": 0}),
        ("retrieve_404", {}),
        ("retrieve_500", {"times": 2}),
        ("html_instead_of_json", {"call": "retrieve"}),
        ("call_drop_before", {"call": "retrieve"}),
        ("call_drop_after", {"call": "retrieve"}),
        ("call_slow_after", {"call": "retrieve", "seconds": 1}),
        ("call_error", {"call": "delete_file", "status": 500, "times": 3}),
    ],
)
def test_what_changes_nothing(world: World, fault: str, options: dict[str, Any]) -> None:
    world.emulator.fault(fault, **options)
    world.ask(3)
    assert world.errors() == []
    # Files are deleted once their answers are given, and tasks may be faster.
    wait_until(lambda: world.emulator.fired(fault), description="the fault was met")
    world.check(batches=1)


# The batch as a whole


def test_files_that_never_come_are_asked_for_again(world: World) -> None:
    world.emulator.fault("missing_output_file_id")
    world.ask(2)
    world.until("finished")
    world.not_before(FILES_GRACE)
    assert world.errors() == []
    world.check(batches=2, repeated=2)


def test_files_that_are_gone_are_asked_for_again(world: World) -> None:
    world.emulator.fault("file_expired")
    world.ask(2)
    world.until("finished")
    world.not_before(FILES_GRACE)
    assert world.errors() == []
    world.check(batches=2, repeated=2)


def test_a_batch_that_vanishes_is_asked_again(world: World) -> None:
    world.emulator.fault("batch_404")
    world.ask(2)
    wait_until(lambda: world.open() and world.open()[0].missing_since, description="it is missed")
    world.not_before(FILES_GRACE)
    assert world.errors() == []
    world.check(batches=2)


@pytest.mark.parametrize("fault", ["stuck_validating", "stuck_in_progress"])
def test_a_stuck_batch_is_cancelled_and_asked_again(world: World, fault: str) -> None:
    world.emulator.fault(fault)
    world.ask(2)
    wait_until(lambda: world.emulator.fired(fault), description="it is stuck")
    world.not_before(DEADLINE)
    assert world.errors() == []
    world.check(batches=2)
    assert [batch["status"] for batch in world.batches()] == ["cancelled", "completed"]


def test_a_cancelled_batch_that_counts_nothing_is_asked_again(world: World) -> None:
    """One that somebody else cancelled, with its counts at 0 and no answer handed out."""
    world.emulator.fault("cancel_midway", at=0.5)
    world.emulator.fault("cancel_resets_counts")
    world.ask(4)
    assert world.errors() == []
    ran = [line["ok"] for line in world.emulator.ledger()["lines"].values()]
    # What ran in the batch that was cancelled is not to be had.
    world.check(batches=2, repeated=sum(ran) - 4)


def test_too_many_batches_in_an_hour_wait_for_the_next(world: World) -> None:
    world.emulator.fault("batches_per_hour", limit=0)
    world.ask(2)
    wait_until(lambda: world.emulator.fired("batches_per_hour"), description="a create was refused")
    assert [batch.refused for batch in world.open()] == [0]
    world.emulator.lift("batches_per_hour")
    assert world.errors() == []
    world.check(batches=1)


def test_what_a_cancelled_batch_had_answered_is_kept(world: World) -> None:
    world.emulator.fault("stuck_finalizing")
    world.ask(2)
    wait_until(lambda: world.emulator.fired("stuck_finalizing"), description="it is stuck")
    world.not_before(DEADLINE)
    assert world.errors() == []
    world.check(batches=1)


@pytest.mark.parametrize("line", [1, 3])
def test_a_bad_line_fails_alone(world: World, line: int) -> None:
    """Its neighbours go again, and have all their attempts still."""
    world.emulator.fault("invalid_line", line=line, code="invalid_json_line")
    world.ask(4)
    assert world.errors() == [("BadRequestError", 400, "invalid_json_line")]
    world.check(batches=2)
    assert world.emulator.ledger()["lines_known"] == 3


def test_more_bad_lines_than_there_are_attempts_fail_alone(world: World) -> None:
    world.emulator.fault("invalid_line", line=1, times=4)
    world.ask(6)
    assert world.errors() == [("BadRequestError", 400, "invalid_json_line")] * 4
    world.check(batches=5)


def test_a_line_number_that_is_not_in_the_file_uses_up_attempts(world: World) -> None:
    world.emulator.fault("invalid_line", line=1, times=None)
    world.ask(3)
    assert world.errors() == [("BadRequestError", 400, "invalid_json_line")] * 3
    world.check(batches=3)


def test_an_unknown_model_is_every_prompt_s_own_error(world: World) -> None:
    world.emulator.fault("model_not_found")
    world.ask(3)
    assert world.errors() == [("NotFoundError", 404, "model_not_found")] * 3
    world.check(batches=1)


def test_a_full_queue_is_waited_for(world: World) -> None:
    """More refusals than there are attempts, and no prompt fails."""
    world.emulator.fault("token_limit_exceeded", times=4)
    world.ask(3)
    assert world.errors() == []
    world.check()
    assert [batch["status"] for batch in world.batches()][:4] == ["failed"] * 4


def test_the_limit_is_learned_and_the_next_batches_are_smaller(world: World) -> None:
    world.emulator.fault("token_limit", limit=60)
    world.ask(6)
    assert world.errors() == []
    world.check()
    refused, *rest = world.batches()
    assert refused["status"] == "failed"
    assert {batch["status"] for batch in rest} == {"completed"}
    assert all(int(batch["tokens"]) <= 60 or batch["lines"] == "1" for batch in rest)
