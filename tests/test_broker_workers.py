"""What a broker does to messages, where it takes workers of the test's own.

Not in a module whose tests share a worker: that one would take messages too.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from batchq.overview import status
from tests.apps import held, outcomes
from tests.harness import Process, Stack, wait_until
from tests.outcomes import World


@pytest.fixture
def supervised(stack: Stack) -> Callable[[], list[Process]]:
    """A worker that is started again when it ends, as a supervisor does."""
    workers = [stack.worker("tests.apps.outcomes")]
    stack.beat("tests.apps.outcomes")

    def look() -> list[Process]:
        if workers[-1].exit_code is not None:
            workers.append(stack.worker("tests.apps.outcomes"))
        return workers

    return look


@pytest.mark.parametrize(
    ("queue", "entry"),
    [
        ("batchq", "no envelope"),
        ("celery", "no envelope"),
    ],
    ids=["ours", "the user's"],
)
def test_an_entry_that_is_no_envelope_ends_a_worker_at_the_most(
    stack: Stack, supervised: Callable[[], list[Process]], queue: str, entry: str
) -> None:
    """Celery's worker may exit at it. The entry is gone then, and the next worker goes on.

    Not so after an envelope whose body has no arguments: Celery 5.6 puts it back as it exits, and
    each worker that takes it exits in its turn, with Batchq or without.
    """
    world = World(stack)
    world.ask(2)
    stack.redis.lpush(queue, entry)
    wait_until(
        lambda: supervised() and all(result.ready() for result in world.sent),
        description="all is resolved, by this worker or the next",
        timeout=60,
    )
    assert world.errors() == []
    assert world.emulator.ledger()["batches_created"] == 1
    assert not status(outcomes.app).batches
    world.sent.clear()


def test_a_message_held_longer_than_the_visibility_timeout(stack: Stack) -> None:
    """Redis gives it to a second worker while the first one still works on it: it ends there."""
    # Not shorter: where all is slow, the messages of the steps would come again and again too.
    environment = {"VISIBILITY_TIMEOUT": "3"}
    stack.redis.set("hold", 1)
    for _ in range(2):
        stack.worker("tests.apps.held", environment=environment)
    stack.beat("tests.apps.held", environment=environment)
    sent = held.hold.delay("longer than that")
    wait_until(lambda: stack.redis.get("held") == "1", description="the body has its answer")
    wait_until(
        lambda: any("a second delivery of task" in p.output() for p in stack.processes),
        description="its message came again",
        timeout=60,
    )
    stack.redis.delete("hold")
    assert sent.get(timeout=30)
    ledger = stack.emulator.ledger()
    assert [line["ok"] for line in ledger["lines"].values()] == [1]
    assert stack.redis.get("held") == "1", "the body went on once"
