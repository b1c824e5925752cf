"""What refuses a call or a whole file, and names no line, pauses the account and fails nobody.

A provider that did not find the files it had taken failed eight prompts with nine batches within
seconds, though all of those files could be read.
"""

from __future__ import annotations

from typing import Any

import pytest

from batchq.capture.parked import BATCHED
from batchq.events import AccountPaused, BatchFailed
from batchq.flow.flush import flush
from batchq.flow.poll import poll
from tests.capture.bench import Bench
from tests.cases.pauses import (
    all_answered,
    asked,
    attempts,
    batches,
    events,
    pass_the_pause,
    paused,
    round_of,
    sealed,
    to_its_end,
)


def goes_on(bench: Bench, results: list[Any]) -> None:
    """The account goes on after a pause, without an attempt used and with each paid for once."""
    assert [one.state for one in results] == [BATCHED] * len(results)
    assert {count for one in results for count in attempts(bench, one)} == {0}
    bench.emulator.clear()
    pass_the_pause(bench)
    for _ in range(2):
        round_of(bench)
    assert all_answered(results)
    assert paused(bench) is None
    assert bench.emulator.ledger()["duplicates"] == {}


# A file


def test_an_input_file_that_is_not_found_for_hours_fails_nobody(slow: Bench) -> None:
    slow.emulator.fault("input_file_lost", times=None)
    results = asked(slow, 25)
    for _ in range(6):
        round_of(slow)
        pass_the_pause(slow)
    assert batches(slow) == [25, 10, 10, 10, 10, 10]
    found = paused(slow)
    assert found is not None
    assert (found.reason, found.code, found.met_in) == ("file", "invalid_request", "file")
    assert [one.reason for one in events(slow, BatchFailed)] == ["paused"] * 6
    assert len(events(slow, AccountPaused)) == 1
    slow.emulator.lift("input_file_lost")
    round_of(slow)
    assert paused(slow) is None
    round_of(slow)
    assert all_answered(results)
    assert batches(slow)[6:] == [10, 15]


def test_an_input_file_that_is_not_found_once_costs_a_pause(slow: Bench) -> None:
    slow.emulator.fault("input_file_lost")
    results = asked(slow, 8)
    round_of(slow)
    goes_on(slow, results)
    assert slow.emulator.ledger()["batches_created"] == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"input_file_lost": {"param": None}},
        {"input_file_lost": {"param": "input_file_id", "code": None}},
        {"input_file_lost": {"code": "file_not_found"}},
        {"invalid_line": {"code": "billing_hard_limit_reached", "numbered": False}},
        {"invalid_line": {"code": "billing_not_active", "line": 1}},
        {"invalid_line": {"code": "insufficient_quota", "numbered": False}},
        {"invalid_line": {"code": "account_deactivated", "numbered": False}},
        {"invalid_line": {"code": "a_new_code", "numbered": False}},
    ],
    ids=str,
)
def test_a_refused_file_is_searched_for_a_line_only_where_a_line_may_be_it(
    slow: Bench, fault: dict[str, dict[str, Any]]
) -> None:
    for name, options in fault.items():
        slow.emulator.fault(name, times=None, **options)
    results = asked(slow, 12)
    for _ in range(2):
        round_of(slow)
        pass_the_pause(slow)
    assert slow.emulator.ledger()["batches_created"] == 2
    round_of(slow)
    goes_on(slow, results)


def test_a_code_nobody_knows_is_a_line_s_where_the_account_is_well(slow: Bench) -> None:
    """A small batch without that line has passed, so that the account is not to blame."""
    slow.emulator.fault("invalid_line", containing="text 11", code="odd", numbered=False)
    results = asked(slow, 12)
    round_of(slow)
    assert paused(slow) is not None
    pass_the_pause(slow)
    for _ in range(6):
        round_of(slow)
    assert [one.state for one in results] == ["SUCCESS"] * 11 + ["FAILURE"]
    assert paused(slow) is None


def test_a_small_batch_with_a_bad_line_is_no_trouble_of_the_account(slow: Bench) -> None:
    slow.emulator.fault("input_file_lost")
    results = asked(slow, 12)
    round_of(slow)
    slow.emulator.fault("invalid_line", containing="text 3")
    pass_the_pause(slow)
    for _ in range(3):
        round_of(slow)
    assert [one.state for one in results].count("SUCCESS") == 11
    assert results[3].state == "FAILURE"


# A call


@pytest.mark.parametrize(
    ("call", "fault", "reason"),
    [
        ("create", {"status": 429, "code": "insufficient_quota"}, "credit"),
        ("create", {"status": 400, "code": "billing_hard_limit_reached"}, "credit"),
        ("create", {"status": 402}, "credit"),
        ("create", {"status": 401}, "access"),
        ("create", {"status": 403}, "access"),
        ("upload", {"status": 429, "code": "insufficient_quota"}, "credit"),
        ("upload", {"status": 402}, "credit"),
        ("upload", {"status": 401}, "access"),
        ("upload", {"status": 403, "code": "billing_not_active"}, "credit"),
    ],
)
def test_a_refused_call_pauses_its_account(
    slow: Bench, call: str, fault: dict[str, Any], reason: str
) -> None:
    slow.emulator.fault("call_error", call=call, times=None, **fault)
    results = asked(slow, 3)
    sealed(slow)
    assert slow.journal.batches.open() == []
    assert slow.waiting() == 3
    found = paused(slow)
    assert found is not None
    assert (found.reason, found.tries) == (reason, 1)
    pass_the_pause(slow)
    sealed(slow)
    found = paused(slow)
    assert found is not None
    assert found.tries == 2
    goes_on(slow, results)


def test_a_type_says_it_where_there_is_no_code(slow: Bench) -> None:
    slow.emulator.fault("no_credit", at="create", code=None)
    results = asked(slow, 3)
    sealed(slow)
    goes_on(slow, results)


def test_a_file_that_the_create_does_not_find_is_sent_again_and_then_waits(slow: Bench) -> None:
    slow.emulator.fault("create_400_file_not_found", times=None)
    results = asked(slow, 3)
    sealed(slow)
    for _ in range(6):
        for record in slow.journal.batches.open():
            slow.journal.clock.advance(slow.journal.batches.due_in(record.id))
            flush(slow.app, record.id)
    assert slow.emulator.fired("create_400_file_not_found") == 6
    goes_on(slow, results)


def test_a_throttled_call_is_none_of_it(slow: Bench) -> None:
    slow.emulator.fault("create_429")
    asked(slow, 1)
    sealed(slow)
    assert paused(slow) is None
    assert len(slow.journal.batches.open()) == 1


def test_answers_that_are_paid_for_wait_until_they_may_be_read(slow: Bench) -> None:
    """The account ran out of credit in the middle of a fetch."""
    results = asked(slow, 3)
    (batch,) = sealed(slow)
    quota = {"status": 429, "code": "insufficient_quota"}
    slow.emulator.fault("call_error", call="content", times=3, **quota)
    to_its_end(slow, batch)
    slow.deliver()
    assert all_answered(results)
    assert paused(slow) is None, "it may read again"
    assert len(events(slow, AccountPaused)) == 1
    assert slow.emulator.ledger()["batches_created"] == 1


def test_a_key_that_is_refused_when_a_batch_is_asked_for(slow: Bench) -> None:
    """Nothing more is sent meanwhile, and it goes on without anything that could try."""
    results = asked(slow, 2)
    (batch,) = sealed(slow)
    slow.emulator.fault("unauthorized", call="retrieve", times=2)
    slow.journal.clock.advance(slow.journal.batches.due_in(batch))
    record = slow.journal.batches.get(batch)
    assert record is not None
    poll(slow.app, batch, record.chain)
    found = paused(slow)
    assert found is not None
    assert (found.reason, found.met_in) == ("access", "batches.retrieve")
    more = asked(slow, 2, "more")
    assert sealed(slow) == [batch]
    to_its_end(slow, batch)
    slow.deliver()
    assert paused(slow) is None
    round_of(slow)
    assert all_answered([*results, *more])


def test_a_batch_that_may_have_been_created_is_looked_for_before_its_prompts_go_back(
    slow: Bench,
) -> None:
    slow.emulator.fault("create_drop_after")
    results = asked(slow, 2)
    (batch,) = sealed(slow)
    slow.emulator.fault("unauthorized", call="list", times=2)
    for _ in range(3):
        slow.journal.clock.advance(slow.journal.batches.due_in(batch))
        flush(slow.app, batch)
    record = slow.journal.batches.get(batch)
    assert record is not None
    assert record.state == "submitted"
    to_its_end(slow, batch)
    slow.deliver()
    assert all_answered(results)
    assert paused(slow) is None
    assert slow.emulator.ledger()["batches_created"] == 1
