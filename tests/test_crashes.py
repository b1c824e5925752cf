"""Workers that die or stop where it hurts: between an effect at the provider and its record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.apps import outcomes
from tests.harness import Process, Stack, wait_until
from tests.outcomes import World

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
        lambda: world.journal.counters().get("answered") == 3,
        description="the other one has brought the answers",
    )
    sleeper.resume()
    assert world.errors() == []
    world.check(batches=1)


def test_a_worker_is_killed_with_the_answer_in_its_hands(world: World) -> None:
    """The run that had it is gone; the next one gets the same answer, unpaid."""
    redis = world.stack.redis
    redis.set("hold", 1)
    worker = world.stack.worker(APP)
    world.sent = [outcomes.hold.delay("with the answer")]
    wait_until(lambda: world.journal.waiting_tasks() == 1, description="it has asked")
    outcomes.app.tasks["batchq.flush"].delay(everything=True)
    wait_until(lambda: redis.get("held") == "1", description="it has its answer")
    worker.kill()
    redis.delete("hold")
    world.stack.worker(APP)
    assert world.sent[0].get(timeout=30)
    assert redis.get("held") == "2"
    redis.delete("held")
    world.check(batches=1)
