"""Flower and AsyncResult agree in the end on a task's state, in whatever order its events come.

Two workers and the processes of their pools send events side by side. Each of these sources keeps
its own order; between them there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from math import factorial, prod
from random import Random
from typing import Any

import pytest
from celery.events.state import State

from tests.fidelity.environments import REDIS, running
from tests.fidelity.matrix import Matrix
from tests.fidelity.tasks import Kind
from tests.harness import Stack, wait_until

Event = dict[str, Any]
ENVIRONMENT = REDIS["prefork"]


@pytest.fixture(scope="module")
def listening(shared_stack: Stack) -> Iterator[Matrix]:
    with running(ENVIRONMENT, shared_stack) as app:
        matrix = Matrix(ENVIRONMENT, shared_stack, app)
        app.finalize()
        with matrix.listening():
            yield matrix


def _succeeds(kind: Kind) -> Any:
    return kind.say.delay("It succeeds.")


def _fails(kind: Kind) -> Any:
    return kind.fail_after.delay("It fails.")


def _retries(kind: Kind) -> Any:
    return kind.tries_otherwise.delay("It is tried again.")


def _waits(kind: Kind) -> Any:
    return kind.say.delay("It waits.")


def _is_revoked(kind: Kind) -> Any:
    result = kind.say.delay("It is revoked.")
    wait_until(lambda: result.state == "BATCHED", description="the task is BATCHED")
    result.revoke()
    return result


CASES: dict[str, tuple[Callable[[Kind], Any], str]] = {
    "succeeds": (_succeeds, "SUCCESS"),
    "fails": (_fails, "FAILURE"),
    "is tried again": (_retries, "SUCCESS"),
    "waits": (_waits, "BATCHED"),
    "is revoked": (_is_revoked, "REVOKED"),
}


@pytest.mark.parametrize("case", CASES)
def test_flower_and_the_result_agree_in_every_order(case: str, listening: Matrix) -> None:
    send, final = CASES[case]
    emulator = listening.stack.emulator
    if case in {"waits", "is revoked"}:
        emulator.fault("stuck_in_progress", at=0, times=None)
    result = send(Kind(listening.app, "batched"))
    last = {"BATCHED": "batched", "SUCCESS": "succeeded", "FAILURE": "failed"}
    # Who sends the last one is not who sends the others: they may be heard later.
    wanted = {f"task-{name}" for name in ("sent", "received", last.get(final, "revoked"))}
    if case != "is revoked":
        wanted.add("task-started")
    wait_until(
        lambda: wanted <= {event["type"] for event in listening.events_of(result.id)},
        description=f"the task is {final}, and all of it is heard",
    )
    wait_until(
        lambda: listening.app.AsyncResult(result.id).state == final,
        description=f"AsyncResult says {final}",
    )
    events = listening.events_of(result.id)
    orders = list(_orders([source for source in _sources(events) if source]))
    shown = {_shown(result.id, order) for order in orders}
    emulator.clear()
    assert shown == {final}, f"{len(orders)} orders of {[event['type'] for event in events]}"
    # More than one order was tried, or this says nothing.
    assert len(orders) > 3


def _sources(events: list[Event]) -> list[list[Event]]:
    """What is sent in one order: by the client, by each run's worker."""
    client: list[Event] = []
    workers: list[list[Event]] = []
    for event in sorted(events, key=lambda event: int(event["clock"])):
        if event["type"] == "task-sent":
            client.append(event)
        elif event["type"] == "task-received" and not _is_retry(event):
            workers.append([event])
        else:
            (workers or [[]])[-1].append(event)
    return [client, *workers]


def _is_retry(event: Event) -> bool:
    # Its worker sent "retried" before it; another order shows RETRY without Batchq as well.
    return bool(event.get("retries"))


def _orders(sources: list[list[Event]]) -> Iterator[list[Event]]:
    """Every order in which the events of these sources can come; of many, some by chance."""
    whose = [at for at, source in enumerate(sources) for _ in source]
    count = factorial(len(whose)) // prod(factorial(len(source)) for source in sources)
    chance = Random(7)
    turns = (
        set(permutations(whose))
        if count < 2000 and len(whose) < 9
        else {tuple(chance.sample(whose, len(whose))) for _ in range(2000)}
    )
    for turn in turns:
        queues = [iter(source) for source in sources]
        yield [next(queues[at]) for at in turn]


def _shown(task_id: str, events: list[Event]) -> str:
    """The state of a task in what Flower keeps, after these events."""
    seen: Any = State()
    for event in events:
        # `event` takes the fields out of what it is given.
        seen.event(dict(event))
    return str(seen.tasks[task_id].state)
