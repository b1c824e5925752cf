"""Redis as broker and for results, tasks in processes: what most people run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from billiard.exceptions import TimeLimitExceeded
from celery import chain, chord

from batchq.celery_side.message import publish
from batchq.journal import journal_of
from tests.fidelity.environments import REDIS
from tests.fidelity.matrix import Matrix
from tests.fidelity.same import test_it_is_as_without_batchq
from tests.fidelity.tasks import Kind
from tests.harness import wait_until

ENVIRONMENT = REDIS["prefork"]

__all__ = ["test_it_is_as_without_batchq"]


@pytest.fixture
def batched(matrix: Matrix) -> Kind:
    return Kind(matrix.app, "batched")


@pytest.fixture
def stuck(matrix: Matrix) -> Iterator[Callable[[], None]]:
    """Batches do not end before this is called."""
    emulator = matrix.stack.emulator
    emulator.fault("stuck_in_progress", at=0, times=None)
    yield lambda: emulator.lift("stuck_in_progress")
    emulator.clear()


def test_nothing_of_a_canvas_is_asked_live(matrix: Matrix, batched: Kind) -> None:
    emulator = matrix.stack.emulator
    before = emulator.ledger(summary=True)["live_calls"]
    branches = [chain(batched.say.s("a"), batched.say.s()), batched.refine.s("b")]
    assert chord(branches, batched.summarise.s()).apply_async().get(timeout=40)
    assert emulator.ledger(summary=True)["live_calls"] == before


@pytest.mark.parametrize("canvas", ["map", "starmap", "chunks"])
def test_maps_and_chunks_are_asked_live(matrix: Matrix, canvas: str) -> None:
    """Celery calls their items as plain functions, inside one task of its own."""
    emulator = matrix.stack.emulator
    before = emulator.ledger(summary=True)["live_calls"]
    answers = []
    for kind in (Kind(matrix.app, "batched"), Kind(matrix.app, "live")):
        signature: Any = {
            "map": lambda kind=kind: kind.say.map(["a", "b"]),
            "starmap": lambda kind=kind: kind.say.starmap([("a",), ("b",)]),
            "chunks": lambda kind=kind: kind.say.chunks([("a",), ("b",)], 1),
        }[canvas]()
        answers.append(signature.apply_async().get(timeout=40))
    assert answers[0] == answers[1]
    assert emulator.ledger(summary=True)["live_calls"] - before == 4


def test_a_waiting_task_says_for_what_it_waits(
    matrix: Matrix, batched: Kind, stuck: Callable[[], None]
) -> None:
    result = batched.say.delay("Wait for me.")
    wait_until(lambda: result.state == "BATCHED", description="the task is BATCHED")
    assert result.info == {"prompts": 1, "lanes": ["default|/v1/chat/completions|gpt-5.6-luna|"]}
    stuck()
    assert result.get(timeout=40)


def test_events_and_signals_of_a_run_come_with_each_run(matrix: Matrix, batched: Kind) -> None:
    """The others come once for a task: the matrix compares them."""
    with matrix.listening():
        result = batched.say.delay("An event.")
        result.get(timeout=40)
        wanted = {"sent": 1, "received": 2, "started": 2, "batched": 1, "succeeded": 1}

        def are_there() -> bool:
            types = [event["type"] for event in matrix.events_of(result.id)]
            return Counter(types) == {f"task-{name}": count for name, count in wanted.items()}

        wait_until(are_there, description="all events of the task are there")


def test_a_soft_limit_that_is_met_while_a_run_goes_to_wait_is_not_the_end(
    batched: Kind,
) -> None:
    """Its questions were in the journal already: the task failed, and was answered afterwards."""
    result = batched.softly.delay("Softly.")
    assert "softly" in result.get(timeout=40).lower()
    assert result.state == "SUCCESS"


def test_a_hard_limit_that_is_met_while_a_run_goes_to_wait_is_the_end(
    matrix: Matrix, batched: Kind, stuck: Callable[[], None]
) -> None:
    """The answer came later, and made a success of a task that had failed."""
    result = batched.hardly.delay("Hardly.")
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=40)
    stuck()
    matrix.wait_until_idle()
    assert matrix.app.AsyncResult(result.id).state == "FAILURE"
    assert matrix.seen(result.id)["events"]["succeeded"] == 0


def test_a_second_delivery_of_a_failed_task_leaves_its_state(
    matrix: Matrix, batched: Kind, stuck: Callable[[], None]
) -> None:
    """With ``track_started`` it was STARTED from then on, and who asked for its result hung.

    A message comes twice where rescue sends it again just as it is taken.
    """
    result = batched.fails_after_it_started.delay("It fails.")
    journal = journal_of(matrix.app)
    message = wait_until(lambda: journal.tasks.messages([result.id])[0], description="it waits")
    stuck()
    with pytest.raises(RuntimeError):
        result.get(timeout=40)
    matrix.wait_until_idle()
    publish(matrix.app, [message])
    matrix.stack.processes[-1].wait_for_output(f"[{result.id}] ends here: it has ended already")
    assert matrix.app.AsyncResult(result.id).state == "FAILURE"


def test_nothing_is_left(matrix: Matrix) -> None:
    """No bodies in the journal, no message that the broker still counts as being worked on."""
    matrix.wait_until_idle()
    redis = matrix.stack.redis
    assert list(redis.scan_iter("{batchq}:bodies:*")) == []
    # A live task that is revoked before its time stays in its worker's hands until then.
    unacked = [str(message) for message in redis.hvals("unacked")]
    assert [message for message in unacked if '"batched.' in message] == []
