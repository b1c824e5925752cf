"""Celery's canvas and lifecycle, with tasks that wait for a batch in the middle of it.

Each behaviour is compared with that of the same task without the decorator.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError, TimeoutError  # noqa: A004
from celery.result import AsyncResult

from tests.apps.canvas import (
    Kind,
    app,
    batched,
    fail,
    join,
    live,
    note_error,
    note_failed_id,
    note_result,
    upper,
)
from tests.harness import Stack, wait_until

# Celery's own call, for a chord.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

CANVASES: dict[str, Callable[[Kind], Any]] = {
    "a task": lambda kind: kind.say.s("apples from the north"),
    "two calls in a body": lambda kind: kind.refine.s("apples from the north"),
    "a group": lambda kind: group(
        kind.say.s("apples from the north"), kind.say.s("blue whales"), upper.s("cold mornings")
    ),
    "a chord": lambda kind: chord(
        [kind.say.s(text) for text in ("apples", "bears", "caves")], join.s()
    ),
    "a chord of both kinds of task": lambda kind: chord(
        [kind.say.s("apples from the north"), upper.s("blue whales")], join.s()
    ),
    "a chord with a batched body": lambda kind: chord(
        [upper.s("apples from the north"), kind.say.s("blue whales")], kind.summarise.s()
    ),
    "two calls in a chord": lambda kind: chord(
        [kind.refine.s("apples from the north"), kind.say.s("blue whales")], join.s()
    ),
    "batched first in a chain": lambda kind: chain(kind.say.s("apples from the north"), upper.s()),
    "batched in a chain's middle": lambda kind: chain(
        upper.s("apples from the north"), kind.say.s(), upper.s()
    ),
    "batched last in a chain": lambda kind: chain(upper.s("apples from the north"), kind.say.s()),
    "batched all along a chain": lambda kind: chain(
        kind.say.s("apples from the north"), kind.say.s(), kind.say.s()
    ),
    "a chord of chains": lambda kind: chord(
        [
            chain(kind.say.s("apples from the north"), kind.say.s()),
            chain(upper.s("blue whales"), kind.say.s()),
        ],
        join.s(),
    ),
    "a chord in a chord": lambda kind: chord(
        [
            chord([kind.say.s("apples from the north"), kind.say.s("blue whales")], join.s()),
            kind.say.s("cold mornings"),
        ],
        join.s(),
    ),
    "a chain through groups": lambda kind: chain(
        upper.s("apples from the north"),
        group(kind.say.s(), upper.s()),
        kind.summarise.s(),
        upper.s(),
    ),
    "a replaced task": lambda kind: kind.replace.s("apples from the north"),
    "a replaced task in a chain": lambda kind: chain(
        upper.s("apples from the north"), kind.replace.s(), upper.s()
    ),
    "a replaced task in a chord": lambda kind: chord(
        [kind.replace.s("apples from the north"), kind.say.s("blue whales")], join.s()
    ),
    "replaced by a chord": lambda kind: kind.replace_by_chord.s("apples from the north"),
    "arguments the body changes": lambda kind: kind.mutate.s(
        ["apples", "bears", "caves"], last={"text": "deep lakes", "rest": "e"}
    ),
}


@pytest.fixture(scope="module")
def stack(shared_stack: Stack) -> Stack:
    worker = shared_stack.worker(
        "tests.apps.canvas",
        "-E",
        concurrency=3,
        queues=["celery", "batchq", "special"],
        # Celery refuses pickle to a worker of root, as tests in a container are.
        environment={"C_FORCE_ROOT": "1"},
        wait=False,
    )
    shared_stack.beat("tests.apps.canvas")
    worker.wait_for_output(" ready.")
    return shared_stack


@pytest.fixture(scope="module")
def sent(stack: Stack) -> Iterator[dict[str, Any]]:
    """Every canvas, all at once."""
    sent = {name: canvas(batched).apply_async() for name, canvas in CANVASES.items()}
    yield sent
    sent.clear()


def notes(stack: Stack, key: str) -> list[Any]:
    return [json.loads(str(text)) for text in stack.redis.lrange(f"notes:{key}", 0, -1)]


def wait_for_notes(stack: Stack, key: str, count: int) -> list[Any]:
    return wait_until(
        lambda: found if len(found := notes(stack, key)) >= count else None,
        description=f"{count} notes under {key} (there are {notes(stack, key)})",
    )


def wait_until_idle(stack: Stack) -> None:
    def is_idle() -> bool:
        return not stack.redis.zcard("{batchq}:waiting") + stack.redis.zcard("{batchq}:resuming")

    wait_until(is_idle, description="no task waits or is on its way")


@pytest.fixture
def stuck(stack: Stack) -> Iterator[Callable[[], None]]:
    """Batches do not end before this is called."""
    wait_until_idle(stack)
    stack.emulator.fault("stuck_in_progress", at=0, times=None)
    yield lambda: stack.emulator.lift("stuck_in_progress")
    stack.emulator.clear()


@pytest.mark.parametrize("name", CANVASES)
def test_the_result_is_that_of_the_same_tasks_without_batchq(
    name: str, stack: Stack, sent: dict[str, Any]
) -> None:
    expected = CANVASES[name](live).apply_async()
    assert sent[name].get(timeout=40) == expected.get(timeout=40)


def test_nothing_of_it_was_asked_live(stack: Stack, sent: dict[str, Any]) -> None:
    for result in sent.values():
        result.get(timeout=40)
    before = stack.emulator.ledger(summary=True)["live_calls"]
    assert CANVASES["a chord of chains"](batched).apply_async().get(timeout=40)
    assert stack.emulator.ledger(summary=True)["live_calls"] == before


# Errors


def test_a_chord_fails_when_a_batched_member_fails(stack: Stack) -> None:
    key = uuid.uuid4().hex
    body = join.s().on_error(note_error.s(key))
    result = chord([batched.fail_after.s("a"), batched.say.s("b")], body).apply_async()
    with pytest.raises(ChordError, match="RuntimeError"):
        result.get(timeout=30, follow_parents=False)
    ((_, name, _),) = wait_for_notes(stack, key, 1)
    assert name == "ChordError"


def test_a_chord_fails_when_a_plain_member_fails_while_a_batched_one_waits(stack: Stack) -> None:
    key = uuid.uuid4().hex
    body = join.s().on_error(note_error.s(key))
    result = chord([fail.s("no"), batched.say.s("b")], body).apply_async()
    with pytest.raises(ChordError, match="no"):
        result.get(timeout=30, follow_parents=False)
    assert len(wait_for_notes(stack, key, 1)) == 1


def test_an_error_after_the_answer_is_the_error_of_the_task(stack: Stack) -> None:
    """Hooks, signals and errbacks of both styles fire once, after the last run."""
    key = uuid.uuid4().hex
    result = batched.fail_after.apply_async(
        ("a",), link_error=[note_error.s(key), note_failed_id.s()]
    )
    expected = live.say.delay("a").get(timeout=30)
    with pytest.raises(RuntimeError) as raised:
        result.get(timeout=30)
    assert str(raised.value) == expected
    assert wait_for_notes(stack, key, 1) == [[result.id, "RuntimeError", expected]]
    seen = wait_for_notes(stack, result.id, 4)
    assert sorted(map(str, seen)) == sorted(
        map(
            str,
            [
                ["on_failure", expected],
                ["after_return", "FAILURE"],
                ["task_failure"],
                "failed",
            ],
        )
    )


# What follows a task


def test_links_are_called_once_with_the_result(stack: Stack) -> None:
    keys = [uuid.uuid4().hex, uuid.uuid4().hex]
    result = batched.say.apply_async(("a",), link=[note_result.s(key) for key in keys])
    answer = result.get(timeout=30)
    for key in keys:
        assert wait_for_notes(stack, key, 1) == [answer]
    # Nothing more comes: a task sent after them has been and gone.
    upper.delay("x").get(timeout=30)
    assert [len(notes(stack, key)) for key in keys] == [1, 1]


def test_hooks_and_signals_fire_once_for_a_task_that_runs_twice(stack: Stack) -> None:
    result = batched.hooked.delay("a")
    answer = result.get(timeout=30)
    seen = wait_for_notes(stack, result.id, 3)
    assert seen == [["on_success", answer], ["task_success"], ["after_return", "SUCCESS"]]


def test_the_events_of_a_task_tell_that_it_is_batched(stack: Stack) -> None:
    seen: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver: Any = app.events.Receiver(connection, handlers={"*": seen.append})
        events = receiver.itercapture(timeout=30, wakeup=True)
        next(events)
        result = batched.say.delay("An event.")

        def types() -> list[str]:
            return [event["type"] for event in seen if event.get("uuid") == result.id]

        while "task-succeeded" not in types():
            next(events)
        events.close()
    # In no order: some are sent by the worker's main process, some by the one that ran the task.
    assert Counter(types()) == {
        "task-received": 2,
        "task-started": 2,
        "task-batched": 1,
        "task-succeeded": 1,
    }
    result.get(timeout=30)


# While it waits


def test_a_waiting_task_is_batched_and_get_goes_on_waiting(
    stack: Stack, stuck: Callable[[], None]
) -> None:
    result = batched.refine.delay("Wait for me.")
    wait_until(lambda: result.state == "BATCHED", description="the task is BATCHED")
    assert result.info == {"prompts": 1, "lanes": ["default|/v1/chat/completions|gpt-5.6-luna|"]}
    assert not result.ready()
    with pytest.raises(TimeoutError):
        result.get(timeout=0.3)
    assert result.state == "BATCHED"
    stuck()
    assert result.get(timeout=30) == live.refine.delay("Wait for me.").get(timeout=30)


def test_a_task_whose_expiry_passes_while_it_waits_is_not_dropped(
    stack: Stack, stuck: Callable[[], None]
) -> None:
    """It had begun in time; its answer is paid for."""
    expired_at = time.time() + 2
    result = batched.say.apply_async(("In time.",), expires=2)
    wait_until(lambda: result.state == "BATCHED", description="the task is BATCHED")
    wait_until(lambda: time.time() > expired_at + 0.1, description="the task has expired")
    stuck()
    assert result.get(timeout=30) == live.say.delay("In time.").get(timeout=30)


def test_a_countdown_is_met_once(stack: Stack) -> None:
    sent_at = time.time()
    result = batched.say.apply_async(("Later.",), countdown=1)
    assert result.get(timeout=30) == live.say.delay("Later.").get(timeout=30)
    assert time.time() - sent_at > 1


# What a task knows about itself


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"queue": "special"}, id="queue"),
        pytest.param({"priority": 6}, id="priority"),
        pytest.param({"argsrepr": "('***',)"}, id="argsrepr"),
        pytest.param({"headers": {"traceparent": "00-1-2-01"}}, id="headers"),
        pytest.param({"time_limit": 50, "soft_time_limit": 40}, id="time limits"),
        pytest.param({"shadow": "another.name"}, id="shadow"),
        pytest.param({"compression": "gzip"}, id="compression"),
        pytest.param({"retries": 2}, id="retries"),
    ],
)
def test_a_resumed_task_knows_what_it_was_called_with(
    stack: Stack, options: dict[str, Any]
) -> None:
    results = [kind.describe.apply_async(("Who are you?",), **options) for kind in (batched, live)]
    mine, expected = (result.get(timeout=30) for result in results)
    assert mine == expected


def test_a_secret_argument_stays_out_of_the_log(stack: Stack) -> None:
    """The replay's message carries the caller's own argsrepr, as the first one did."""
    secret = f"secret {uuid.uuid4().hex}"
    result = batched.fail_after.apply_async((secret,), argsrepr="('***',)")
    with pytest.raises(RuntimeError):
        result.get(timeout=30)
    task_lines = [line for line in stack.processes[0].output().splitlines() if result.id in line]
    assert task_lines
    assert not [line for line in task_lines if "args" in line and secret in line]


def test_pickled_arguments_come_back_as_they_went(stack: Stack) -> None:
    """JSON has no sets; where the app allows pickle, the message stays pickled."""
    texts = {"a", "bb"}
    results = [kind.lengths.apply_async((texts,), serializer="pickle") for kind in (batched, live)]
    mine, expected = (result.get(timeout=30) for result in results)
    assert mine == expected


# Without a result


def test_a_task_that_ignores_its_result_stores_nothing(stack: Stack) -> None:
    key = uuid.uuid4().hex
    result = batched.silent.delay("Quietly.", key)
    assert wait_for_notes(stack, key, 1) == [live.say.delay("Quietly.").get(timeout=30)]
    wait_until_idle(stack)
    assert stack.redis.exists(f"celery-task-meta-{result.id}") == 0


def test_a_call_that_ignores_its_result_stores_nothing(stack: Stack) -> None:
    result = batched.hooked.apply_async(("Quietly.",), ignore_result=True)
    wait_for_notes(stack, result.id, 3)
    wait_until_idle(stack)
    assert stack.redis.exists(f"celery-task-meta-{result.id}") == 0


def test_the_journal_lets_go_of_every_task(stack: Stack, sent: dict[str, Any]) -> None:
    for result in sent.values():
        result.get(timeout=40)
    wait_until_idle(stack)
    left = [
        AsyncResult(key, app=app).state
        for key in map(str, stack.redis.scan_iter("{batchq}:bodies:*"))
    ]
    assert left == []
