"""What an operator does to lanes and batches, and what becomes of the prompts in them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery.states import REVOKED

from batchq import control
from batchq.decide.flush import next_flush
from batchq.errors import NotFound
from batchq.flow.flush import flush
from batchq.flow.rescue import rescue
from batchq.prompt import Lane
from batchq.settings.config import settings
from tests.apps import revokes
from tests.apps.base import make_app
from tests.harness import Emulator, Server, Stack, wait_until
from tests.journals import LANE, capture
from tests.test_flow import EMBEDDINGS, Steps


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Steps:
    app = make_app(
        "operate",
        batchq_flush_after=900,
        batchq_poll_first=0.05,
        batchq_poll_longest=0.3,
        batchq_tick=0.2,
    )
    return Steps(server, emulator, app)


def place(steps: Steps, custom_id: str) -> str | None:
    return steps.journal.answers.places([custom_id])[0]


# Lanes


def test_a_lane_that_is_held_keeps_its_prompts(steps: Steps) -> None:
    asked = capture(steps.journal)
    assert control.hold(steps.app, LANE)
    assert not control.hold(steps.app, LANE)
    flush(steps.app, everything=True)
    assert not steps.journal.batches.open()
    (lane,) = steps.journal.lanes.all()
    assert lane.held
    assert next_flush(lane, settings(steps.app)).why == "it is held"
    assert control.release(steps.app, LANE)
    assert not control.release(steps.app, LANE)
    flush(steps.app)
    assert place(steps, asked.custom_ids[0]) == f"batch:{steps.only().id}"


def test_one_lane_is_flushed_and_the_others_wait(steps: Steps) -> None:
    first = capture(steps.journal)
    capture(steps.journal, b'{"model": "x", "input": "a"}', lane=EMBEDDINGS, inputs=1)
    control.flush(steps.app, LANE)
    assert steps.step()
    assert place(steps, first.custom_ids[0]) == f"batch:{steps.only().id}"
    assert [record.lane for record in steps.journal.lanes.all()] == [EMBEDDINGS]
    later = capture(steps.journal)
    flush(steps.app)
    assert place(steps, later.custom_ids[0]) == "lane", "what came later was not asked for"


def test_a_lane_is_found_by_a_part_of_its_name(steps: Steps) -> None:
    capture(steps.journal)
    assert control.lane_named(steps.app, LANE.name) == LANE
    assert control.lane_named(steps.app, "luna") == LANE
    with pytest.raises(NotFound, match=r"no lane 'nova'.*gpt-5\.6-luna"):
        control.lane_named(steps.app, "nova")
    capture(steps.journal, lane=Lane(account="default", endpoint="/v1/responses", model="luna"))
    with pytest.raises(NotFound, match="/v1/responses"):
        control.lane_named(steps.app, "luna")


@pytest.mark.parametrize(
    ("lane", "options", "why"),
    [
        ({}, {}, "batchq_flush_after"),
        ({"prompts": 10_000}, {}, "batchq_flush_prompts"),
        ({"bytes": 190_000_000}, {}, "fills a file"),
        ({"paused": timedelta(minutes=2)}, {}, "no room"),
        ({"called": timedelta(0)}, {}, "asked for"),
        ({"prompts": 0}, {}, "empty"),
        ({}, {"batchq_flush_at": "02:00", "batchq_flush_after": None}, "batchq_flush_at"),
        ({}, {"batchq_flush_after": None}, "neither full nor"),
        ({"lane": Lane(account="gone", endpoint="/v1/x", model="y")}, {}, "account 'gone'"),
    ],
)
def test_it_is_said_when_a_lane_is_flushed_next_and_why(
    steps: Steps, lane: dict[str, object], options: dict[str, object], why: str
) -> None:
    from batchq.journal import LaneRecord

    known = {"lane": LANE, "prompts": 1, "bytes": 10, "tokens": 1, "oldest": timedelta(minutes=1)}
    app = make_app("why", **{"batchq_flush_after": 900, **options})
    found = next_flush(LaneRecord(**{**known, **lane}), settings(app))  # type: ignore[arg-type]
    assert why in found.why
    if why == "batchq_flush_after":
        assert found.due_in == timedelta(minutes=14)
    if why == "batchq_flush_at":
        assert found.due_in is not None
        assert timedelta(0) < found.due_in <= timedelta(days=1)


# Batches


def test_a_batch_that_was_not_sent_is_cancelled_without_the_provider(steps: Steps) -> None:
    asked = capture(steps.journal)
    flush(steps.app, everything=True)
    batch_id = steps.only().id
    assert control.cancel(steps.app, batch_id) == "ASKED"
    (batch,) = steps.until_over()
    assert (batch["status"], batch["note"]) == ("cancelled", "cancelled before it was sent")
    assert place(steps, asked.custom_ids[0]) == "lane"
    assert steps.journal.lanes.held() == {LANE}
    assert steps.emulator.ledger()["batches_created"] == 0
    assert control.cancel(steps.app, batch_id) == "OVER"


def test_a_cancel_whose_worker_died_half_way_is_carried_on(steps: Steps) -> None:
    """Its prompts were back in their lane, and the batch was still open."""
    asked = capture(steps.journal)
    flush(steps.app, everything=True)
    record = steps.only()
    control.cancel(steps.app, record.id)
    steps.journal.lanes.requeue(record, asked.custom_ids, use_attempt=False)
    (batch,) = steps.until_over()
    assert batch["status"] == "cancelled"
    assert place(steps, asked.custom_ids[0]) == "lane"
    assert steps.journal.lanes.all()[0].prompts == 1


def test_a_batch_that_runs_is_stopped_and_its_prompts_come_back(steps: Steps) -> None:
    steps.emulator.fault("stuck_in_progress", at=0)
    asked = capture(steps.journal)
    batch_id = steps.submitted().id
    assert control.cancel(steps.app, batch_id) == "ASKED"
    (batch,) = steps.until_over()
    assert batch["status"] == "cancelled"
    assert place(steps, asked.custom_ids[0]) == "lane"
    attempts = steps.journal.store.redis.hget(
        steps.journal.store.task_key(asked.task_id), "0:attempts"
    )
    assert attempts == b"0", "it has not failed"
    flush(steps.app, everything=True)
    assert not steps.journal.batches.open(), "its lane is held"
    steps.emulator.reset()
    control.release(steps.app, LANE)
    flush(steps.app)
    steps.until(lambda: place(steps, asked.custom_ids[0]) == "answered", "it is asked again")


def test_a_cancel_that_comes_during_a_poll_is_not_put_off(steps: Steps) -> None:
    """The poll wrote down its own pause over it, and the batch ran on for that long."""
    steps.emulator.fault("stuck_in_progress", at=0)
    capture(steps.journal)
    record = steps.submitted()
    with steps.journal.batches.lease(record.id) as lease:
        assert lease is not None
        control.cancel(steps.app, record.id)
        told = steps.journal.batches.advance(
            record.id, lease, due=timedelta(minutes=5), told_at=record.told_at, chain="later"
        )
    assert told == "TOLD"
    assert steps.journal.batches.due_in(record.id) <= timedelta(0)


def test_a_create_whose_answer_was_lost_is_found_before_it_is_cancelled(steps: Steps) -> None:
    """The batch exists at the provider: to give its prompts back would have them run twice."""
    steps.emulator.fault("create_drop_after")
    steps.emulator.fault("stuck_in_progress", at=0)
    capture(steps.journal)
    flush(steps.app, everything=True)
    steps.until(lambda: steps.only().create_intent_at, "it was created")
    assert steps.only().state == "uploaded"
    control.cancel(steps.app, steps.only().id)
    (batch,) = steps.until_over()
    assert batch["status"] == "cancelled"
    assert batch["provider_id"]
    assert steps.emulator.ledger()["batches_created"] == 1


def test_a_batch_nobody_knows_cannot_be_cancelled(steps: Steps) -> None:
    with pytest.raises(NotFound, match="no batch 'nobody'"):
        control.cancel(steps.app, "nobody")


# Tasks


def test_a_waiting_task_is_revoked(stack: Stack) -> None:
    stack.worker("tests.apps.revokes")
    result: Any = revokes.app.tasks["batched.say"].delay("a question")
    wait_until(lambda: result.state == "BATCHED", description="it waits")
    control.revoke(revokes.app, result.id)
    wait_until(lambda: result.state == REVOKED, description="it is revoked")
    with pytest.raises(NotFound, match="no task"):
        control.revoke(revokes.app, "nobody")


# What is left to look at


def test_a_minute_has_a_sample(steps: Steps) -> None:
    capture(steps.journal)
    capture(steps.journal)
    rescue(steps.app)
    (sample,) = steps.journal.tallies.samples(timedelta(minutes=5))
    assert (sample.waiting, sample.batched, sample.answered) == (2, 0, 0)
