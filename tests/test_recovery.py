"""Nothing is paid twice and nothing is lost: lost answers, lost messages, killed workers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchq.celery_side.message import publish
from batchq.prompt import pack
from tests.apps import outcomes
from tests.harness import wait_until
from tests.outcomes import World

# An answer of the provider is lost, late or a refusal


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("create_drop_after", {}),
        ("create_drop_before", {}),
        ("create_slow_after", {"seconds": 2}),
        ("create_500", {}),
        ("create_500", {"times": 3}),
        ("create_429", {"retry_after": 1}),
        ("create_429", {"times": 4, "retry_after": 0}),
        ("create_400_file_not_found", {}),
        ("create_400_file_not_found", {"times": 4}),
        ("html_instead_of_json", {"call": "create"}),
        ("unauthorized", {"call": "create", "times": 3}),
        ("call_error", {"call": "create", "status": 403, "times": 3}),
        ("call_error", {"call": "create", "status": 408}),
        ("call_error", {"call": "create", "status": 409}),
        ("upload_500", {}),
        ("upload_drop_before", {}),
        ("upload_drop_after", {}),
        ("unauthorized", {"call": "upload", "times": 3}),
        ("call_error", {"call": "upload", "status": 429, "retry_after": 1}),
        ("unauthorized", {"call": "retrieve", "times": 3}),
        ("unauthorized", {"call": "content", "times": 3}),
    ],
)
def test_every_prompt_runs_once_in_one_batch(
    world: World, fault: str, options: dict[str, Any]
) -> None:
    world.emulator.fault(fault, **options)
    world.ask(2)
    world.skip()
    assert world.errors() == []
    assert world.emulator.fired(fault) >= int(options.get("times", 1)), "the fault was met"
    world.check(batches=1)


def test_a_batch_is_found_though_the_list_is_late(world: World) -> None:
    """The list of batches shows a new one a moment later: to look once is not enough."""
    world.emulator.fault("list_lag", seconds=60)
    world.emulator.fault("create_drop_after")
    world.ask(2)
    world.skip()
    assert world.errors() == []
    world.check(batches=1)


def test_an_upload_whose_answer_was_lost_is_found(world: World) -> None:
    world.emulator.fault("upload_drop_after")
    world.ask(2)
    assert world.errors() == []
    world.check(batches=1)
    assert world.emulator.ledger()["uploads"] == 1


def test_an_upload_that_the_list_does_not_show_yet_is_made_again(world: World) -> None:
    """A file costs nothing, and the one too many expires: unlike a batch it is not waited for."""
    world.emulator.fault("upload_drop_after")
    world.emulator.fault("file_list_lag", seconds=60)
    world.ask(2)
    assert world.errors() == []
    world.check(batches=1)
    assert world.emulator.ledger()["uploads"] == 2


def test_a_refusal_is_seen_and_uses_no_attempt(world: World) -> None:
    world.emulator.fault("unauthorized", call="create", times=None)
    world.ask(2)

    def why() -> str:
        paused = world.journal.pauses.get("default")
        return "" if paused is None else paused.because

    wait_until(lambda: "key is refused" in why(), description="its account is paused")
    wait_until(lambda: world.emulator.fired("unauthorized") > 2, description="it is tried again")
    world.emulator.lift("unauthorized")
    assert world.errors() == []
    world.check(batches=1)


def test_a_batch_that_is_always_refused_ends_with_the_provider_s_words(world: World) -> None:
    world.emulator.fault("call_error", call="create", status=400, code="no_billing", times=None)
    world.ask(2)
    assert world.errors() == [("BadRequestError", 400, "no_billing")] * 2
    world.check(batches=0)


# A message is lost or comes twice


def test_a_poll_that_was_lost_is_sent_again(world: World) -> None:
    world.emulator.fault("stuck_in_progress")
    world.ask(2)
    wait_until(lambda: world.open() and world.open()[0].status, description="it is polled")
    record = world.open()[0]
    woken = f"batch {record.id} (submitted) is late, so its next step is sent again"

    def lost() -> bool:
        # What comes with another chain than the record's ends there, as if it had been lost.
        key = world.journal.store.batch_keys(record.id)[0]
        world.journal.store.redis.hset(key, "chain", "lost")
        return woken in world.stack.processes[0].output()

    wait_until(lost, description="rescue sends another")
    world.emulator.lift("stuck_in_progress")
    assert world.errors() == []
    world.check(batches=1)


def test_a_task_whose_message_was_lost_is_sent_again(world: World) -> None:
    """A task has its answer, and the message that was to resume it is gone."""
    world.emulator.fault("slow", call="create", seconds=0.5)
    world.ask(1)
    task_id = world.sent[0].id
    deaf = json.loads(world.journal.tasks.messages([task_id])[0] or b"") | {"routing_key": "deaf"}
    key = world.journal.store.task_key(task_id)
    world.journal.store.redis.hset(key, "message", pack(json.dumps(deaf).encode()))
    client = world.stack.redis
    wait_until(lambda: client.delete("deaf"), description="the message is sent, and lost")
    # As ten minutes later.
    world.journal.store.redis.zadd(world.journal.store.key("resuming"), {task_id: 1})
    wait_until(lambda: client.llen("deaf"), description="it is sent again")
    client.lmove("deaf", "celery")
    assert world.errors() == []
    world.check(batches=1)


def test_a_task_that_is_resumed_twice_ends_once(world: World) -> None:
    world.emulator.fault("slow", call="create", seconds=0.5)
    world.ask(1)
    task_id = world.sent[0].id
    (kept,) = world.journal.tasks.messages([task_id])
    assert kept is not None
    assert world.errors() == []
    publish(outcomes.app, [kept] * 3)
    done = f"a second delivery of task {outcomes.say.name} [{task_id}] ends here"
    worker = world.stack.processes[0]
    wait_until(lambda: worker.output().count(done) == 3, description="all three came in vain")
    assert world.sent[0].get()["answer"]
    world.check(batches=1)
