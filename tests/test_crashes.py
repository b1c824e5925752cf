"""Workers that die or stop where it hurts: between an effect at the provider and its record."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.apps import outcomes
from tests.harness import Process, Stack, wait_until
from tests.outcomes import World, skip_pause

APP = "tests.apps.outcomes"


@pytest.fixture(scope="module")
def _beat(shared_stack: Stack) -> Process:
    return shared_stack.beat(APP)


@pytest.fixture
def world(stack: Stack, _beat: Process) -> Iterator[World]:
    """A beat that runs already; the workers are the test's own."""
    world = World(stack)
    yield world
    world.sent.clear()


@pytest.mark.parametrize("call", ["upload", "create", "content"])
def test_a_worker_is_killed_in_the_middle(world: World, call: str) -> None:
    """The call has its effect, and whoever made it never hears of that."""
    world.emulator.fault("slow", call=call, seconds=1)
    worker = world.stack.worker(APP)
    world.ask(3)
    wait_until(lambda: world.emulator.fired("slow"), description=f"the {call} is under way")
    worker.kill()
    world.stack.worker(APP)
    assert world.errors() == []
    world.check(batches=1)
    assert world.emulator.ledger()["uploads"] == 1


@pytest.mark.parametrize("call", ["create", "content"])
def test_a_worker_sleeps_in_the_middle_and_another_takes_over(world: World, call: str) -> None:
    """When the first one wakes up, its lease is another's, and it writes nothing."""
    world.emulator.fault("slow", call=call, seconds=1)
    sleeper = world.stack.worker(APP)
    other = world.stack.worker(APP, queues=["batchq"], wait=False)
    other.pause()
    world.ask(3)
    wait_until(lambda: world.emulator.fired("slow"), description=f"the {call} is under way")
    sleeper.pause()
    other.resume()
    wait_until(
        lambda: world.journal.tallies.counters().get("answered") == 3,
        description="the other one has brought the answers",
    )
    sleeper.resume()
    assert world.errors() == []
    world.check(batches=1)


def test_a_worker_that_slept_before_its_create_cancels_what_it_made(world: World) -> None:
    """It had looked for the batch; another looked, waited and created it meanwhile. Nothing can
    prevent the second batch, but it went on to its end, and all of it was paid for twice.
    """
    proof = world.stack.directory / "proof"
    stop = {"BATCHQ_CRASH_AT": f"create.call:1:stop:{proof}"}
    sleeper = world.stack.worker(APP, pool="solo", environment=stop)
    world.ask(3)
    wait_until(proof.exists, description="it is about to create")
    world.stack.worker(APP)

    def answered() -> bool:
        skip_pause(world.stack, world.journal)
        return world.journal.tallies.counters().get("answered") == 3

    wait_until(answered, description="the other one has brought the answers")
    world.emulator.fault("stuck_in_progress", at=0)
    sleeper.resume()
    with OpenAI() as client:
        wait_until(
            lambda: any(one.status == "cancelled" for one in client.batches.list()),
            description="what the sleeper created is cancelled",
        )
    assert world.errors() == []
    world.check(batches=2)


def test_a_worker_is_killed_with_the_answer_in_its_hands(world: World) -> None:
    """The run that had it is gone; the next one gets the same answer, unpaid."""
    redis = world.stack.redis
    redis.set("hold", 1)
    worker = world.stack.worker(APP)
    world.sent = [outcomes.hold.delay("with the answer")]
    wait_until(lambda: world.journal.waiting.count() == 1, description="it has asked")
    outcomes.app.tasks["batchq.flush"].delay(everything=True)
    wait_until(lambda: redis.get("held") == "1", description="it has its answer")
    worker.kill()
    redis.delete("hold")
    world.stack.worker(APP)
    assert world.sent[0].get(timeout=30)
    assert redis.get("held") == "2"
    redis.delete("held")
    world.check(batches=1)


def test_a_worker_is_killed_before_its_body_asked(world: World) -> None:
    """Its message was acknowledged, and is gone with it: what is left is the copy that came while
    it ran, and found the task busy.
    """
    redis = world.stack.redis
    redis.set("hold", 1)
    first = world.stack.worker(APP, concurrency=1)
    task_id = uuid.uuid4().hex
    outcomes.late.apply_async(("twice",), task_id=task_id)
    wait_until(lambda: redis.get("held") == "1", description="it runs")
    second = world.stack.worker(APP)
    world.sent = [outcomes.late.apply_async(("twice",), task_id=task_id)]
    second.wait_for_output(f"[{task_id}] ends here")
    first.kill()
    redis.delete("hold")
    wait_until(lambda: world.journal.waiting.count() == 1, description="it has asked")
    outcomes.app.tasks["batchq.flush"].delay(everything=True)
    assert world.sent[0].get(timeout=30)
    assert redis.get("held") == "3"
    redis.delete("held")
    world.check(batches=1)


def test_a_run_that_slept_does_not_end_its_task_again(world: World) -> None:
    """Another had taken over and ended the task; the sleeper, awake, called its links once more."""
    redis = world.stack.redis
    redis.set("hold", 1)
    sleeper = world.stack.worker(APP, concurrency=1)
    world.sent = [outcomes.hold.apply_async(("once",), link=outcomes.tally.s())]
    wait_until(lambda: world.journal.waiting.count() == 1, description="it has asked")
    outcomes.app.tasks["batchq.flush"].delay(everything=True)
    wait_until(lambda: redis.get("held") == "1", description="it has its answer")
    sleeper.pause()
    redis.delete("hold")
    # Not before: Redis would have given it the message that the sleeper is to have.
    world.stack.worker(APP)
    assert world.sent[0].get(timeout=30)
    sleeper.resume()
    parked = f"Task {outcomes.hold.name}[{world.sent[0].id}] ignored"
    wait_until(
        lambda: sleeper.output().count(parked) >= 2, description="the sleeper ends its run in vain"
    )
    assert f"[{world.sent[0].id}] succeeded" not in sleeper.output()
    wait_until(lambda: redis.get("tally"), description="the link is called")
    outcomes.tally.delay(None).get(timeout=30)
    assert redis.get("tally") == "2", "once for the task, and once by this test"
    redis.delete("held", "tally")
    world.check(batches=1)


def test_a_run_that_slept_as_it_began_does_not_end_its_task_again(world: World) -> None:
    """Its lease ran out before it was told that it has it, and it took the moment it was told for
    the beginning: a body that is quick ended a task that had ended.
    """
    redis = world.stack.redis
    proof = world.stack.directory / "proof"
    stop = {"BATCHQ_CRASH_AT": f"claim.called:2:stop:{proof}"}
    sleeper = world.stack.worker(APP, pool="solo", environment=stop)
    world.sent = [outcomes.hold.apply_async(("once",), link=outcomes.tally.s())]
    wait_until(lambda: world.journal.waiting.count() == 1, description="it has asked")
    outcomes.app.tasks["batchq.flush"].delay(everything=True)
    wait_until(proof.exists, description="it begins, with its answer")
    world.stack.worker(APP)
    assert world.sent[0].get(timeout=30)
    sleeper.resume()
    parked = f"Task {outcomes.hold.name}[{world.sent[0].id}] ignored"
    wait_until(
        lambda: sleeper.output().count(parked) >= 2, description="the sleeper ends its run in vain"
    )
    assert f"[{world.sent[0].id}] succeeded" not in sleeper.output()
    wait_until(lambda: redis.get("tally"), description="the link is called")
    outcomes.tally.delay(None).get(timeout=30)
    assert redis.get("tally") == "2", "once for the task, and once by this test"
    redis.delete("held", "tally")
    world.check(batches=1)
