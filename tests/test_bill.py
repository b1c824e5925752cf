"""What a batch used and cost, where it failed, and the sums that are kept of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from batchq.flow.bill import Bill
from batchq.journal import BatchRecord
from batchq.money.cost import PriceTable
from batchq.prompt import Outcome
from tests.apps.base import make_app
from tests.harness import Emulator, Server
from tests.journals import LANE, capture, chat, claim
from tests.test_flow import Steps


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Steps:
    app = make_app(
        "bill",
        batchq_poll_first=0.05,
        batchq_poll_longest=0.3,
        batchq_tick=0.2,
        batchq_accounts={"default": {"prices": "openai"}},
    )
    return Steps(server, emulator, app)


def over(steps: Steps) -> BatchRecord:
    steps.until_over()
    return steps.journal.batches.closed(1)[0]


def test_a_batch_costs_what_the_provider_charges(steps: Steps) -> None:
    asked = [capture(steps.journal, chat(f"question {number}")) for number in range(20)]
    steps.submitted()
    batch = over(steps)
    billed = steps.emulator.ledger()["totals"]["batch"]
    assert batch.cost == round(billed["cost_usd"] * 1_000_000_000)
    assert batch.cost > 0
    assert batch.live_cost == 2 * batch.cost
    assert (batch.input_tokens, batch.output_tokens) == (
        billed["input_tokens"],
        billed["output_tokens"],
    )
    # Each task knows its share.
    records = [steps.journal.views.task(one.task_id) for one in asked]
    calls = [call for record in records if record is not None for call in record.calls]
    assert sum(call.cost for call in calls) == batch.cost
    assert {(call.status_code, call.batch, call.place) for call in calls} == {
        (200, batch.id, "answered")
    }
    # So do the day and the lane.
    today, of_lane = steps.journal.tallies.day(), steps.journal.tallies.lanes()[LANE]
    assert today == of_lane
    assert (today.batches, today.prompts) == (1, 20)
    assert today.cost == today.saved == batch.cost
    assert today.others["status:completed"] == 1
    assert sum(n for name, n in today.others.items() if name.startswith("le:")) == 1


def test_a_batch_that_is_read_twice_is_billed_once(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker died between the last answer and the close."""
    from batchq.flow import fetch as module

    capture(steps.journal)
    steps.submitted()
    real: Callable[..., None] = module._Fetching._close
    closes: list[int] = []

    def dies_at_first(self: module._Fetching, *args: object) -> None:
        closes.append(1)
        if len(closes) > 1:
            real(self, *args)

    monkeypatch.setattr(module._Fetching, "_close", dies_at_first)
    steps.until(lambda: closes, "all is answered")
    assert steps.journal.tallies.day().batches == 0
    module.fetch(steps.app, steps.only().id)
    batch = steps.journal.batches.closed(1)[0]
    assert steps.journal.tallies.day().cost == batch.cost > 0
    assert steps.journal.tallies.day().prompts == 1


def test_rows_that_failed_are_counted_by_their_code(steps: Steps) -> None:
    steps.emulator.fault("line_error", first=2)
    asked = [capture(steps.journal, chat(f"question {number}")) for number in range(3)]
    steps.submitted()
    batch = over(steps)
    (code,) = batch.errors
    assert batch.errors[code] == 2
    assert batch.failed_rows == 2
    assert set(batch.examples[code]) <= {one.custom_ids[0] for one in asked}
    assert steps.journal.tallies.day().others[f"error:{code}"] == 2
    first = steps.journal.views.task(batch.examples[code][0].rpartition("-")[0])
    assert first is not None
    assert (first.calls[0].status_code, first.calls[0].code) == (400, code)


def test_a_file_that_is_refused_names_the_line(steps: Steps) -> None:
    steps.emulator.fault("invalid_line", first=1)
    asked = [capture(steps.journal, chat(f"question {number}")) for number in range(3)]
    steps.submitted()
    steps.until_over()
    refused = next(b for b in steps.journal.batches.closed(9) if b.status == "failed")
    ((code, (named,)),) = refused.examples.items()
    assert code == "invalid_json_line"
    record = steps.journal.views.task(named.rpartition("-")[0])
    assert record is not None
    assert record.calls[0].code == code, "it is the one that got the error"
    assert named in {one.custom_ids[0] for one in asked}
    assert refused.cost == 0
    assert steps.journal.tallies.day().others["status:failed"] == 1


def test_a_batch_says_whose_prompts_it_holds(steps: Steps) -> None:
    for name in ("shop.classify", "shop.classify", "shop.summarise"):
        task_id = f"of-{name}-{len(steps.journal.lanes.all()[0:1])}-{steps.journal.clock.now()}"
        lease, claimed = claim(steps.journal, task_id)
        assert claimed.word == "CLAIMED"
        from tests.journals import message, prompt

        word = steps.journal.runs.capture(
            task_id,
            token=lease.token,
            message=message(task_id),
            prompts=[prompt(task_id)],
            next_number=1,
            name=name,
        )
        assert word == "CAPTURED"
    assert steps.submitted().task_names == {"shop.classify": 2, "shop.summarise": 1}


def test_kinds_of_errors_have_an_end() -> None:
    """Codes are the provider's words: one for each row would fill the record."""
    record = BatchRecord(
        id="b", lane=LANE, state="finished", lines=1, bytes=1, tokens=1, sealed_at=0
    )
    bill = Bill(record, PriceTable(own={}))
    for number in range(80):
        bill.failed(f"t-{number}", Outcome.error(400, code=f"code_{number}", message="no"))
    bill.failed("t-81", Outcome.error(400, code="Some sentence, with a prompt in it", message="no"))
    tally = bill.tally(status="completed", asked_again=0)
    errors = {name: count for name, count in tally.items() if name.startswith("error:")}
    assert len(errors) == 51
    assert errors["error:other"] == 31


def test_a_day_that_nobody_saw_is_empty(steps: Steps) -> None:
    days = steps.journal.tallies.days(3)
    assert [sums.cost for sums in days.values()] == [0, 0, 0]
    assert list(days) == sorted(days)
    assert steps.journal.tallies.samples(timedelta(hours=1)) == []
