"""Webhooks, the whole way: from a batch that is over at the provider to the result of its task."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from batchq.journal import BatchRecord, journal_of
from batchq.webhook.server import PATH
from tests.apps import webhook
from tests.harness import Stack, wait_until
from tests.webhooks import SECRET, port_of, serving

APP = "tests.apps.webhook"


@pytest.fixture(scope="module")
def _shared(shared_stack: Stack) -> Iterator[tuple[Stack, int]]:
    with serving(shared_stack, APP) as server:
        worker = shared_stack.worker(APP, wait=False)
        shared_stack.beat(APP)
        worker.wait_for_output(" ready.")
        yield shared_stack, port_of(server)


@pytest.fixture
def journey(_shared: tuple[Stack, int]) -> Iterator[Stack]:
    """Worker, beat, a server of webhooks, and an emulator that tells it."""
    stack, port = _shared
    # A result is there before its batch is over, and the next test would take that for its own.
    journal = journal_of(webhook.app)
    wait_until(lambda: not journal.batches.open(), description="the last batch is over")
    stack.emulator.reset()
    stack.emulator.webhook(f"http://127.0.0.1:{port}{PATH}", secret=SECRET)
    yield stack
    assert SECRET[6:] not in "".join(process.output() for process in stack.processes)


def submitted() -> BatchRecord:
    """The one batch that is under way, once it is at the provider."""

    def found() -> BatchRecord | None:
        records = [one for one in journal_of(webhook.app).batches.open() if one.provider_id]
        return records[0] if len(records) == 1 else None

    return wait_until(found, description="a batch is submitted")


@pytest.mark.parametrize("fault", ["", "webhook_twice", "webhook_forged", "webhook_stale"])
def test_a_task_is_answered_as_soon_as_its_batch_is_over(journey: Stack, fault: str) -> None:
    """Its poll would come in ten minutes. What is forged or stale comes again, as it should be."""
    if fault:
        journey.emulator.fault(fault)
    journey.emulator.fault("stuck_in_progress", at=0)
    result = webhook.say.delay("something")
    record = submitted()
    assert journal_of(webhook.app).batches.due_in(record.id).total_seconds() > 500
    journey.emulator.lift("stuck_in_progress")
    assert result.get(timeout=30)
    deliveries = journey.emulator.deliveries()
    assert [(one["type"], one["batch"]) for one in deliveries] == [
        ("batch.completed", record.provider_id)
    ]
    refused = [401] if fault in {"webhook_forged", "webhook_stale"} else []
    accepted = 2 if fault == "webhook_twice" else 1
    wait_until(
        lambda: journey.emulator.deliveries()[0]["answers"] == refused + [200] * accepted,
        description="all is answered",
    )
    assert journal_of(webhook.app).webhooks.since("default") is not None


def test_a_webhook_that_is_late_is_as_good_as_another(journey: Stack) -> None:
    journey.emulator.fault("webhook_late", seconds=1)
    result = webhook.say.delay("something")
    assert result.get(timeout=30)
    assert journey.emulator.fired("webhook_late") == 1


def test_a_webhook_that_is_lost_is_nothing_lost(journey: Stack) -> None:
    """Polling stays the truth: the answer comes with the next poll."""
    journey.emulator.fault("webhook_lost")
    result = webhook.say.delay("something")
    record = submitted()
    wait_until(lambda: journey.emulator.fired("webhook_lost"), description="the batch is over")
    assert not result.ready()
    journal = journal_of(webhook.app)
    journal.store.redis.zadd(
        journal.store.key("batches"), {record.id: 1}
    )  # Its ten minutes are over.
    assert result.get(timeout=30)
    assert [one["answers"] for one in journey.emulator.deliveries()] == [[]]


def test_a_batch_that_fails_is_asked_again_as_soon_as_it_has(journey: Stack) -> None:
    journey.emulator.fault("stuck_validating")
    journey.emulator.fault("invalid_line", numbered=False)
    result = webhook.say.delay("something")
    submitted()
    journey.emulator.lift("stuck_validating")

    def told() -> list[str]:
        return [one["type"] for one in journey.emulator.deliveries()]

    wait_until(lambda: told() == ["batch.failed"], description="it is told that it has failed")
    assert result.get(timeout=30)
    assert told() == ["batch.failed", "batch.completed"]


def test_a_webhook_that_redis_was_away_for_comes_again(journey: Stack) -> None:
    journey.emulator.fault("stuck_in_progress", at=0)
    result = webhook.say.delay("something")
    submitted()
    journey.server.pause()
    journey.emulator.lift("stuck_in_progress")

    def answers() -> list[int]:
        return [status for one in journey.emulator.deliveries() for status in one["answers"]]

    wait_until(lambda: 503 in answers(), description="it is to come again")
    journey.server.resume()
    assert result.get(timeout=30)
    assert answers()[-1] == 200
