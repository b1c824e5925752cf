"""Credit that is used up pauses the account, and fails nobody.

Credit that was used up for an hour cost every task of a night its three attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from openai import OpenAI

from batchq import control
from batchq.capture.parked import BATCHED
from batchq.common.troubles import Trouble
from batchq.errors import NotFound
from batchq.events import AccountGoesOn, AccountPaused
from batchq.flow.flush import flush
from batchq.journal import AccountPause
from batchq.overview import status
from batchq.prompt import split_id
from tests.capture.bench import Bench
from tests.cases.pauses import (
    MINUTE,
    PAUSES,
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


def test_no_attempt_is_used_while_there_is_no_credit(slow: Bench) -> None:
    slow.emulator.fault("no_credit")
    results = asked(slow, 25)
    round_of(slow)
    for _ in range(5):
        assert [one.state for one in results] == [BATCHED] * 25
        assert {count for one in results for count in attempts(slow, one)} == {0}
        round_of(slow)  # It is too early: nothing is sent.
        pass_the_pause(slow)
        round_of(slow)
    assert batches(slow) == [25, 10, 10, 10, 10, 10]
    found = paused(slow)
    assert found is not None
    assert (found.reason, found.code, found.met_in) == ("credit", "insufficient_quota", "rows")
    assert found.tries == 6
    assert timedelta(minutes=31) < found.next_try <= timedelta(minutes=32)
    slow.emulator.lift("no_credit")
    pass_the_pause(slow)
    round_of(slow)
    assert paused(slow) is None
    round_of(slow)
    assert all_answered(results)
    assert batches(slow)[6:] == [10, 15]
    assert slow.emulator.ledger()["duplicates"] == {}


def test_a_pause_grows_up_to_an_hour(slow: Bench) -> None:
    slow.emulator.fault("no_credit")
    asked(slow, 1)
    found: list[float] = []
    for _ in range(9):
        round_of(slow)
        known = paused(slow)
        assert known is not None
        found.append(round(known.next_try / MINUTE))
        pass_the_pause(slow)
    assert found == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_it_is_told_once_when_it_begins_and_logged_when_it_ends(
    slow: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "batchq.pause")
    slow.emulator.fault("no_credit")
    results = asked(slow)
    round_of(slow)
    pass_the_pause(slow)
    round_of(slow)
    (told,) = events(slow, AccountPaused)
    words = "account default is paused, because its credit is used up or its bill is not paid"
    assert str(told).startswith(f"{words} (insufficient_quota)")
    slow.emulator.lift("no_credit")
    pass_the_pause(slow)
    round_of(slow)
    (over,) = events(slow, AccountGoesOn)
    assert over.paused_for >= timedelta(minutes=3)
    assert str(over).startswith("account default goes on, after a pause of 3 min")
    assert all_answered(results)
    said = [(one.levelname, one.getMessage()) for one in caplog.records]
    still = words.replace("is paused", "is still paused")
    tries = "(insufficient_quota); a small batch tries in"
    assert said == [
        ("WARNING", f"{words} {tries} 1 min"),
        ("INFO", f"{still} {tries} 2 min"),
        ("WARNING", "account default goes on"),
    ]


def test_those_with_an_answer_have_it_and_the_others_wait(slow: Bench) -> None:
    """Credit was used up in the middle of a batch."""
    slow.emulator.fault("no_credit", every=2)
    results = asked(slow, 8)
    round_of(slow)
    assert sorted(one.state for one in results) == [BATCHED] * 4 + ["SUCCESS"] * 4
    assert paused(slow) is not None
    slow.emulator.lift("no_credit")
    pass_the_pause(slow)
    round_of(slow)
    assert all_answered(results)
    ledger = slow.emulator.ledger()
    assert (ledger["batches_created"], ledger["duplicates"]) == (2, {})


def test_a_small_batch_that_gets_on_before_it_stops_begins_the_pause_anew(slow: Bench) -> None:
    slow.emulator.fault("no_credit")
    asked(slow, 5)
    for _ in range(3):
        round_of(slow)
        pass_the_pause(slow)
    slow.emulator.lift("no_credit")
    slow.emulator.fault("no_credit", first=3)
    round_of(slow)
    found = paused(slow)
    assert found is not None
    assert found.tries == 1


def test_they_go_in_the_order_in_which_they_were_asked(slow: Bench) -> None:
    slow.emulator.fault("no_credit")
    results = asked(slow, 12)
    round_of(slow)
    pass_the_pause(slow)
    (probe,) = sealed(slow)
    assert [split_id(one) for one in slow.journal.lines.ids(probe)] == [
        (one.id, 0) for one in results[:10]
    ]


def test_a_batch_that_is_under_way_is_no_reason_to_wait_longer(slow: Bench) -> None:
    """It runs into the same: its prompts go back too, and the pause does not grow by it."""
    slow.emulator.fault("stuck_in_progress", at=0)
    first = asked(slow, 4)
    (stuck,) = sealed(slow)
    slow.emulator.fault("no_credit")
    second = asked(slow, 3, "later")
    (under_way,) = [one for one in sealed(slow) if one != stuck]
    to_its_end(slow, under_way)
    before = paused(slow)
    assert before is not None
    slow.emulator.lift("stuck_in_progress")
    to_its_end(slow, stuck)
    after = paused(slow)
    assert after is not None
    assert (after.tries, after.since) == (before.tries, before.since)
    assert {count for one in (*first, *second) for count in attempts(slow, one)} == {0}
    slow.emulator.lift("no_credit")
    for _ in range(2):
        pass_the_pause(slow)
        round_of(slow)
        if paused(slow) is None:
            break
    round_of(slow)
    assert all_answered([*first, *second])


def test_other_accounts_go_on(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_THE_RICH", "rich")
    slow = make_bench(
        **PAUSES, batchq_accounts={"default": {}, "rich": {"api_key": "env:KEY_OF_THE_RICH"}}
    )
    slow.emulator.fault("no_credit", containing="poor")
    poor = asked(slow, 2, "poor")
    round_of(slow)
    rich = asked(slow, 12, "rich", by=OpenAI(api_key="rich"))
    waits = asked(slow, 2, "poor too", label="another lane")
    round_of(slow)
    assert all_answered(rich)
    assert slow.journal.pauses.get("rich") is None
    assert [one.account for one in status(slow.app).paused] == ["default"]
    lanes = slow.journal.lanes.all()
    assert [one.account_pause is not None for one in lanes] == [True, True]
    assert [attempts(slow, one) for one in (*poor, *waits)] == [[0]] * 4


def test_the_trouble_of_one_lane_alone_lets_the_others_go_on(slow: Bench) -> None:
    """A model may have a quota of its own: the lane that met it does not try twice in a row."""
    slow.emulator.fault("no_credit", containing="dear")
    dear = asked(slow, 2, "dear")
    round_of(slow)
    cheap = asked(slow, 2, "cheap", label="another")
    assert len({record.lane for record in slow.journal.lanes.all()}) == 2
    pass_the_pause(slow)
    round_of(slow)
    assert all_answered(cheap)
    assert paused(slow) is None
    round_of(slow)
    assert paused(slow) is not None
    assert [attempts(slow, one) for one in dear] == [[0], [0]]


def test_somebody_lets_it_go_on(slow: Bench) -> None:
    slow.emulator.fault("no_credit")
    results = asked(slow, 12)
    round_of(slow)
    slow.emulator.lift("no_credit")
    assert control.release_account(slow.app, "default")
    assert not control.release_account(slow.app, "default")
    round_of(slow)
    assert all_answered(results)
    assert batches(slow) == [12, 12]
    with pytest.raises(NotFound, match="no account 'deflaut'"):
        control.release_account(slow.app, "deflaut")


def test_a_small_batch_that_was_never_sealed_is_no_end(slow: Bench) -> None:
    """Whoever was about to seal it died."""
    slow.emulator.fault("no_credit")
    results = asked(slow, 2)
    round_of(slow)
    slow.emulator.lift("no_credit")
    pass_the_pause(slow)
    found = paused(slow)
    assert found is not None
    assert slow.journal.pauses.take_probe(found, "never-sealed")
    round_of(slow)
    assert all_answered(results)


def test_two_small_batches_are_not_sent_at_once(slow: Bench) -> None:
    slow.emulator.fault("no_credit")
    asked(slow, 25)
    round_of(slow)
    pass_the_pause(slow)
    (probe,) = sealed(slow)
    assert sealed(slow) == [probe]
    found = paused(slow)
    assert found is not None
    assert found.probe == probe
    assert not slow.journal.pauses.take_probe(found, "another")


def test_what_was_sealed_before_the_pause_goes_back(slow: Bench) -> None:
    results = asked(slow, 3)
    flush(slow.app, everything=True)
    (record,) = slow.journal.batches.open()
    _pause(slow)
    flush(slow.app, record.id)
    closed = slow.journal.batches.get(record.id)
    assert closed is not None
    assert (closed.state, closed.status) == ("closed", "paused")
    assert slow.waiting() == 3
    assert slow.emulator.ledger()["uploads"] == 0
    pass_the_pause(slow)
    round_of(slow)
    assert all_answered(results)


def _pause(bench: Bench) -> AccountPause:
    (record,) = bench.journal.batches.open()
    trouble = Trouble("credit", "insufficient_quota")
    bench.journal.pauses.begin(
        record.lane, trouble, batch="another", met_in="rows", pauses=(MINUTE, MINUTE)
    )
    found = paused(bench)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "given",
    [
        {"status": 403},
        {"status": 402, "code": None, "kind": None},
        {"status": 402, "code": "402", "kind": "invalid_request_error"},
        {"status": 200},
        {"code": None},
        {"code": "InsufficientBalance", "kind": None},
        {"status": 400, "code": "billing_hard_limit_reached", "kind": "invalid_request_error"},
        {"status": 500, "code": None, "kind": "insufficient_quota"},
        {"code": "account_deactivated", "kind": None},
    ],
)
def test_other_servers_spell_it_otherwise(slow: Bench, given: dict[str, Any]) -> None:
    slow.emulator.fault("no_credit", **given)
    results = asked(slow, 2)
    round_of(slow)
    assert [one.state for one in results] == [BATCHED] * 2
    assert [attempts(slow, one) for one in results] == [[0], [0]]
    slow.emulator.lift("no_credit")
    pass_the_pause(slow)
    round_of(slow)
    assert all_answered(results)
