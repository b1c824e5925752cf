"""What kills its worker three times is not tried a fourth time: it is put aside, to be seen."""

from __future__ import annotations

import pytest
from celery import chord
from celery.result import AsyncResult

import batchq
from batchq.errors import WorkersKilled
from batchq.flow.flush import flush
from batchq.flow.rescue import rescue
from tests.apps import dead as app_of
from tests.apps.base import make_app
from tests.harness import Emulator, Server, Stack, wait_until
from tests.journals import LANE, capture, outcomes
from tests.test_flow import Steps

APP = "tests.apps.dead"


@pytest.mark.parametrize("name", ["dies_at_first", "dies_with_the_answer"])
def test_a_task_that_kills_its_workers_is_put_aside(stack: Stack, name: str) -> None:
    """The broker would deliver it for ever, and so would rescue."""
    app = app_of.app
    stack.redis.set("armed", 1)
    stack.worker(APP)
    stack.beat(APP)
    result: AsyncResult[str] = app.tasks[f"{APP}.{name}"].delay("a killer")
    with pytest.raises(WorkersKilled, match="killed its worker 3 times in a row"):
        result.get(timeout=60)
    assert stack.redis.get("killed") == "3"
    (one,) = wait_until(lambda: batchq.dead(app), description="it is listed")
    assert (one.id, one.kind, one.name) == (result.id, "task", f"{APP}.{name}")
    assert "3 times" in one.reason
    assert batchq.status(app).dead == 1
    # Its neighbours go on.
    assert app_of.is_harmless.delay("a neighbour").get(timeout=30)

    stack.redis.delete("armed")
    assert batchq.retry(app, result.id)
    again: AsyncResult[str] = AsyncResult(result.id, app=app)
    assert again.get(timeout=30)
    assert batchq.dead(app) == []
    assert not batchq.retry(app, result.id)
    lines = stack.emulator.ledger()["lines"]
    assert [line["ok"] for line in lines.values()] == [1, 1], "the answer is paid for once"


def test_the_chord_of_a_task_that_is_put_aside_fails(stack: Stack) -> None:
    stack.redis.set("armed", 1)
    stack.worker(APP)
    stack.beat(APP)
    header = [app_of.dies_at_first.s("a killer"), app_of.is_harmless.s("a neighbour")]
    body = chord(header, app=app_of.app)(app_of.is_harmless.si("the body"))
    with pytest.raises(Exception, match="killed its worker 3 times"):
        body.get(timeout=60)


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Steps:
    app = make_app("dead", batchq_poll_first=0.05, batchq_poll_longest=0.3, batchq_tick=0.2)
    return Steps(server, emulator, app)


def killed(steps: Steps, batch_id: str) -> None:
    """Three workers begin a step on this batch and die."""
    for _ in range(3):
        lease = steps.journal.batches.begin(batch_id)
        assert lease is not None
        steps.journal.store.redis.delete(lease.key)


@pytest.mark.parametrize("state", ["sealed", "submitted", "finished"])
def test_a_batch_that_kills_its_workers_is_put_aside(steps: Steps, state: str) -> None:
    asked = capture(steps.journal)
    flush(steps.app, everything=True)
    steps.until(lambda: state == steps.only().state, f"it is {state}") if state != "sealed" else 0
    batch_id = steps.only().id
    killed(steps, batch_id)
    steps.server.client.delete("batchq")

    def put_aside() -> bool:
        rescue(steps.app)
        steps.step()
        return bool(batchq.dead(steps.app))

    wait_until(put_aside, description="it is put aside")
    (one,) = batchq.dead(steps.app)
    assert (one.id, one.kind) == (batch_id, "batch")
    assert "killed their workers" in one.reason
    assert batchq.status(steps.app).dead == 1
    rescue(steps.app)
    assert steps.wakeups() == [], "it is left alone"
    assert steps.journal.answers.places(asked.custom_ids) == [f"batch:{batch_id}"]

    assert batchq.retry(steps.app, batch_id)
    assert batchq.dead(steps.app) == []
    (over,) = steps.until_over()
    assert over["status"] == "completed"
    assert outcomes(steps.journal, asked)[0].succeeded  # type: ignore[union-attr]
    assert steps.emulator.ledger()["batches_created"] == 1


def test_a_batch_that_nobody_retries_ends_with_an_error(steps: Steps) -> None:
    asked = capture(steps.journal)
    flush(steps.app, everything=True)
    batch_id = steps.only().id
    killed(steps, batch_id)
    assert steps.journal.batches.begin(batch_id) is None
    # As 26 hours later.
    steps.journal.store.redis.zadd(steps.journal.store.key("batches"), {batch_id: 1})
    rescue(steps.app)
    (outcome,) = outcomes(steps.journal, asked)
    assert outcome is not None
    assert outcome.status_code == 503
    assert b"workers_killed" in outcome.body
    assert steps.journal.batches.open() == []
    others = steps.journal.tallies.lanes()[LANE].others
    assert others == {"status:given_up": 1, "error:workers_killed": 1}
    assert steps.resumed() == [asked.task_id]
