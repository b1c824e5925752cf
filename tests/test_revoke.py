"""A task that is revoked while it waits, compared with one that waits in a queue."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import chord, group
from celery.exceptions import ChordError, TaskRevokedError
from celery.result import AsyncResult

from batchq.journal import Journal, journal_of
from tests.apps.revokes import Stamp, app, join, note_error
from tests.harness import Stack, wait_until

# Celery's own call, for a chord.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

APP = "tests.apps.revokes"


@pytest.fixture(scope="module")
def workers(shared_stack: Stack) -> Stack:
    """Two workers, so that each command comes to both."""
    processes = [shared_stack.worker(APP, "-E", wait=False) for _ in range(2)]
    shared_stack.beat(APP)
    for process in processes:
        process.wait_for_output(" ready.")
    return shared_stack


@pytest.fixture
def stack(workers: Stack) -> Iterator[Stack]:
    yield workers
    workers.emulator.clear()


@pytest.fixture
def journal(stack: Stack) -> Journal:
    return journal_of(app)


def task(kind: str, name: str = "say") -> Any:
    return app.tasks[f"{kind}.{name}"]


def notes(stack: Stack, key: str) -> list[Any]:
    return [json.loads(str(text)) for text in stack.redis.lrange(f"revokes:{key}", 0, -1)]


def state_of(result: AsyncResult[Any]) -> str:
    """Asked anew: a result that has seen a final state does not look again."""
    return AsyncResult(result.id, app=app).state


def wait_for_state(result: AsyncResult[Any], state: str) -> None:
    wait_until(lambda: state_of(result) == state, description=f"the task is {state}")


def waiting(stack: Stack, *texts: str) -> list[AsyncResult[Any]]:
    """Tasks that wait in a lane."""
    before = journal_of(app).waiting.count()
    sent = [task("batched").delay(text) for text in texts]
    wait_until(
        lambda: journal_of(app).waiting.count() == before + len(texts), description="they wait"
    )
    return sent


def wait_until_all_have_heard(stack: Stack) -> None:
    """Commands come to a worker in order, so an answer to the next one tells of those before."""
    alive = sum(
        process.exit_code is None and process.name.startswith("worker")
        for process in stack.processes
    )
    wait_until(
        lambda: len(app.control.ping(timeout=0.5) or []) == alive, description="all workers answer"
    )


def flush() -> None:
    app.tasks["batchq.flush"].delay(everything=True)


def nothing_is_left(task_id: str) -> bool:
    """The journal has let go of a task but for the mark that refuses a second delivery, and what is
    shown of one that has ended.
    """
    journal = journal_of(app)
    fields = journal.store.redis.hgetall(journal.store.task_key(task_id))
    lists = [
        journal.store.redis.zscore(journal.store.key(name), task_id)
        for name in ("waiting", "resuming")
    ]
    left = {name for name in fields if not name.startswith(b"was:")}
    return left <= {b"nesting", b"retries", b"done", b"name", b"calls"} and lists == [None, None]


# While it waits


def test_a_task_that_waits_in_a_lane_is_revoked_at_once(stack: Stack, journal: Journal) -> None:
    """By two workers, of which one does it: one event, one signal, and no prompt in a lane."""
    seen: list[dict[str, Any]] = []
    (result,) = waiting(stack, "In a lane.")
    with app.connection_for_read() as connection:
        receiver: Any = app.events.Receiver(connection, handlers={"*": seen.append})
        events = receiver.itercapture(timeout=20, wakeup=True)
        next(events)
        result.revoke()
        while "task-revoked" not in [event["type"] for event in seen]:
            next(events)
        wait_until_all_have_heard(stack)
        # Whatever the second worker sends comes before what it sends of the next task.
        later = task("live").delay("Later.")
        while ("task-succeeded", later.id) not in [(e["type"], e.get("uuid")) for e in seen]:
            next(events)
        events.close()
    assert state_of(result) == "REVOKED"
    with pytest.raises(TaskRevokedError, match="revoked"):
        result.get(timeout=5)
    (event,) = [event for event in seen if event["type"] == "task-revoked"]
    assert (event["uuid"], event["terminated"], event["expired"]) == (result.id, False, False)
    assert event["hostname"].startswith("worker")
    assert notes(stack, result.id) == [["task_revoked", False]]
    assert journal.lanes.all() == [] or journal.lanes.all()[0].prompts == 0
    assert nothing_is_left(result.id)
    later.get(timeout=10)


@pytest.mark.parametrize(
    "revoke",
    [
        pytest.param(lambda sent: sent[0].revoke(terminate=True), id="terminate"),
        pytest.param(
            lambda sent: app.control.terminate(sent[0].id, signal="KILL"), id="control.terminate"
        ),
        pytest.param(
            lambda sent: app.control.revoke([one.id for one in sent]), id="control.revoke"
        ),
        pytest.param(lambda sent: sent[0].revoke(wait=True, timeout=0.7), id="with replies"),
    ],
)
def test_a_waiting_task_is_revoked_by_every_command(
    stack: Stack, revoke: Callable[[list[AsyncResult[Any]]], None]
) -> None:
    sent = waiting(stack, "A command.")
    revoke(sent)
    wait_for_state(sent[0], "REVOKED")
    wait_until(lambda: nothing_is_left(sent[0].id), description="the journal lets go")
    # As of a task without the decorator that waits in a queue: nothing of it ran, to be killed.
    assert notes(stack, sent[0].id) == [["task_revoked", False]]


def test_a_waiting_group_is_revoked(stack: Stack) -> None:
    result: Any = group(task("batched").s(text) for text in ("a", "b", "c")).apply_async()
    wait_until(lambda: journal_of(app).waiting.count() == 3, description="they wait")
    result.revoke()
    for each in result.results:
        wait_for_state(each, "REVOKED")


def test_the_others_of_a_lane_are_not_touched(stack: Stack, journal: Journal) -> None:
    """Sums and order of what stays in the lane are as if the revoked one had never been there."""
    revoked, stays = waiting(stack, "Goes.", "Stays, and is longer.")
    revoked.revoke()
    wait_for_state(revoked, "REVOKED")
    (lane,) = journal.lanes.all()
    raw = journal.store.redis.hmget(journal.store.task_key(stays.id), "0:bytes", "0:tokens")
    assert [lane.prompts, lane.bytes, lane.tokens] == [1, *map(int, raw)]
    flush()
    assert stays.get(timeout=20)
    ledger = stack.emulator.ledger()
    assert f"{revoked.id}-0" not in ledger["lines"]


def test_revoking_twice_changes_nothing(stack: Stack) -> None:
    (result,) = waiting(stack, "Twice.")
    result.revoke()
    wait_for_state(result, "REVOKED")
    result.revoke(terminate=True)
    wait_until_all_have_heard(stack)
    assert notes(stack, result.id) == [["task_revoked", False]]


def test_a_finished_task_is_not_revoked(stack: Stack) -> None:
    (result,) = waiting(stack, "Finished.")
    flush()
    answer = result.get(timeout=20)
    result.revoke()
    wait_until_all_have_heard(stack)
    assert (state_of(result), result.get()) == ("SUCCESS", answer)
    assert notes(stack, result.id) == []


@pytest.mark.parametrize("kind", ["batched", "live"])
def test_the_chord_of_a_revoked_member_fails(stack: Stack, kind: str) -> None:
    """As it does where the member waits in a worker for its countdown."""
    key = uuid.uuid4().hex
    member = task(kind).s("a").set(countdown=0 if kind == "batched" else 2)
    result: Any = chord([member, task("live").s("b")], join.s().on_error(note_error.s(key)))()
    first = result.parent.results[0]
    if kind == "batched":
        wait_for_state(first, "BATCHED")
    first.revoke()
    with pytest.raises(ChordError) as raised:
        result.get(timeout=20, follow_parents=False)
    assert str(raised.value) == f"Dependency {first.id} raised TaskRevokedError('revoked')"
    assert state_of(result) == "FAILURE"
    noted = wait_until(lambda: notes(stack, key), description="the errback is called")
    assert noted == [["ChordError", str(raised.value)]]


def test_tasks_are_revoked_by_their_stamps(stack: Stack) -> None:
    canvases = {name: group(task("batched").s(f"For {name}.")) for name in ("ann", "bob")}
    for name, canvas in canvases.items():
        canvas.stamp(visitor=Stamp(name))
    groups: list[Any] = [canvas.apply_async() for canvas in canvases.values()]
    ann, bob = (result.results[0] for result in groups)
    plain = task("batched").delay("For nobody.")
    wait_until(lambda: journal_of(app).waiting.count() == 3, description="they wait")
    stamps: Any = {"customer": ["ann", "eve"]}
    app.control.revoke_by_stamped_headers(stamps)
    wait_for_state(ann, "REVOKED")
    wait_until_all_have_heard(stack)
    assert notes(stack, ann.id) == [["task_revoked", False]]
    flush()
    assert bob.get(timeout=20)
    assert plain.get(timeout=20)


# On its way back


def test_a_task_whose_message_is_on_its_way_is_revoked(stack: Stack, journal: Journal) -> None:
    """Its message comes to workers that know nothing of the revoke, and ends there."""
    (result,) = waiting(stack, "On its way.")
    app.control.cancel_consumer("celery", reply=True, timeout=5, limit=2)
    try:
        flush()
        wait_until(lambda: stack.redis.llen("celery"), description="its message is in the queue")
        result.revoke()
        wait_for_state(result, "REVOKED")
        wait_until_all_have_heard(stack)
    finally:
        app.control.add_consumer("celery", reply=True, timeout=5, limit=2)
    wait_until(lambda: not stack.redis.llen("celery"), description="its message is taken")
    assert task("live").delay("After it.").get(timeout=20)
    assert state_of(result) == "REVOKED"
    assert notes(stack, result.id) == [["task_revoked", False]]
    assert notes(stack, f"runs:{result.id}") == [0], "it did not run again"
    assert nothing_is_left(result.id)


def test_a_revoke_that_nobody_told_celery_of_is_told_by_rescue(
    stack: Stack, journal: Journal
) -> None:
    """The worker that revoked it was killed before it could say so."""
    key = uuid.uuid4().hex
    canvas = chord([task("batched").s("a")], join.s().on_error(note_error.s(key)))
    result: Any = canvas()
    (member,) = result.parent.results
    wait_for_state(member, "BATCHED")
    wait_until(journal.waiting.count, description="it waits")
    assert journal.revocations.revoke(member.id, token="killed").word == "REVOKED"
    assert member.state == "BATCHED"
    wait_for_state(member, "REVOKED")
    with pytest.raises(ChordError):
        result.get(timeout=20, follow_parents=False)
    wait_until(lambda: nothing_is_left(member.id), description="the journal lets go")
    assert notes(stack, member.id) == [["task_revoked", False]]


# While its body runs


def test_a_running_task_is_revoked_when_it_asks(stack: Stack, journal: Journal) -> None:
    gate = uuid.uuid4().hex
    result = task("batched", "gate_then_ask").delay(gate)
    wait_until(lambda: stack.redis.llen(f"at:{gate}"), description="its body runs")
    result.revoke()
    wait_until_all_have_heard(stack)
    stack.redis.rpush(f"gate:{gate}", "open")
    wait_until(lambda: notes(stack, result.id), description="it is revoked")
    wait_for_state(result, "REVOKED")
    wait_until(lambda: nothing_is_left(result.id), description="the journal lets go")
    assert notes(stack, result.id) == [["task_revoked", False]]
    assert sum(lane.prompts for lane in journal.lanes.all()) == 0


@pytest.mark.parametrize("kind", ["batched", "live"])
def test_a_running_task_that_asks_nothing_ends_as_it_would(stack: Stack, kind: str) -> None:
    """A plain revoke does nothing to a body that runs, in Celery: it is over when it is over."""
    gate = uuid.uuid4().hex
    result = task(kind, "gate_then_return").delay(gate)
    wait_until(lambda: stack.redis.llen(f"at:{gate}"), description="its body runs")
    result.revoke()
    wait_until_all_have_heard(stack)
    stack.redis.rpush(f"gate:{gate}", "open")
    wait_for_state(result, "SUCCESS")
    assert notes(stack, result.id) == []


@pytest.mark.parametrize("kind", ["batched", "live"])
def test_a_running_task_that_retries_is_revoked_at_its_next_delivery(
    stack: Stack, kind: str
) -> None:
    gate = uuid.uuid4().hex
    result = task(kind, "gate_then_retry").delay(gate)
    wait_until(lambda: stack.redis.llen(f"at:{gate}"), description="its body runs")
    result.revoke()
    wait_until_all_have_heard(stack)
    stack.redis.rpush(f"gate:{gate}", "open")
    wait_until(lambda: notes(stack, result.id), description="it is revoked")
    # A worker may discard the retry while the run that sent it is still writing down RETRY.
    assert state_of(result) in {"REVOKED", "RETRY"}
    wait_until_all_have_heard(stack)
    assert notes(stack, result.id) == [["task_revoked", False]]
    assert stack.redis.llen(f"at:{gate}") == 1, "it did not run again"


@pytest.mark.parametrize("kind", ["batched", "live"])
def test_a_task_that_is_terminated_while_it_runs_is_revoked(stack: Stack, kind: str) -> None:
    gate = uuid.uuid4().hex
    result = task(kind, "ask_then_gate").delay(gate)
    if kind == "batched":
        wait_for_state(result, "BATCHED")
        wait_until(journal_of(app).waiting.count, description="it waits")
        flush()
    wait_until(lambda: stack.redis.llen(f"at:{gate}"), description="its body runs")
    result.revoke(terminate=True)
    wait_until(lambda: notes(stack, result.id), description="it is revoked")
    wait_for_state(result, "REVOKED")
    assert notes(stack, result.id) == [["task_revoked", True]]
    if kind == "batched":
        wait_until(lambda: nothing_is_left(result.id), description="the journal lets go")


# What Celery ends without us


def test_a_hard_time_limit_in_a_replay_is_the_end(stack: Stack) -> None:
    gate = uuid.uuid4().hex
    result = task("batched", "ask_then_gate_in_a_second").delay(gate)
    wait_until(journal_of(app).waiting.count, description="it waits")
    flush()
    wait_for_state(result, "FAILURE")
    assert type(result.result).__name__ == "TimeLimitExceeded"
    wait_until(lambda: nothing_is_left(result.id), description="the journal lets go")
    assert len(stack.redis.lrange(f"at:{gate}", 0, -1)) == 1, "it did not run again"


def test_a_worker_that_is_lost_in_a_replay_is_the_end(stack: Stack) -> None:
    gate = uuid.uuid4().hex
    result = task("batched", "ask_then_gate").delay(gate)
    wait_until(journal_of(app).waiting.count, description="it waits")
    flush()
    wait_until(lambda: stack.redis.llen(f"at:{gate}"), description="its body runs")
    os.kill(int(str(stack.redis.lindex(f"at:{gate}", 0))), signal.SIGKILL)
    wait_for_state(result, "FAILURE")
    assert type(result.result).__name__ == "WorkerLostError"
    wait_until(lambda: nothing_is_left(result.id), description="the journal lets go")
    assert len(stack.redis.lrange(f"at:{gate}", 0, -1)) == 1, "it did not run again"
