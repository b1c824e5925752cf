"""A task that fails and is tried again gets the answers that were paid for, unless one was bad."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from celery.result import AsyncResult
from openai import BadRequestError

from tests.apps import retries
from tests.apps.retries import DatabaseDown, app, ask
from tests.harness import Stack, wait_until

Sent: TypeAlias = "dict[tuple[str, tuple[str, ...]], AsyncResult[Any]]"

SAME = [
    ("database_down", ()),
    ("database_down_above", ()),
    ("database_down_before", ()),
    ("never_again", ()),
    ("retries_itself", ("",)),
    ("retries_itself", ("down",)),
]
ANEW = [
    ("bad_answer", ()),
    ("bad_answer_above", ()),
    ("own_list", ()),
    ("retries_itself", ("bad",)),
]


@pytest.fixture(scope="module")
def stack(shared_stack: Stack) -> Stack:
    worker = shared_stack.worker("tests.apps.retries", concurrency=4, wait=False)
    shared_stack.beat("tests.apps.retries")
    worker.wait_for_output(" ready.")
    return shared_stack


@pytest.fixture(scope="module")
def sent(stack: Stack) -> Iterator[Sent]:
    sent = {
        (name, more): getattr(retries, name).delay(f"A text for {name}.", *more)
        for name, more in [*SAME, *ANEW]
    }
    yield sent
    sent.clear()


def billed(stack: Stack, task_id: str) -> dict[str, int]:
    """How often each line of a task was answered, at its price, by the number of the call."""
    lines: dict[str, Any] = stack.emulator.ledger()["lines"]
    return {
        custom_id.rpartition("-")[2]: line["ok"]
        for custom_id, line in sorted(lines.items())
        if custom_id.startswith(task_id)
    }


def wait_until_idle(stack: Stack) -> None:
    def is_idle() -> bool:
        return not stack.redis.zcard("{batchq}:waiting") + stack.redis.zcard("{batchq}:resuming")

    wait_until(is_idle, description="no task waits or is on its way")


@pytest.mark.parametrize(("name", "more"), SAME)
def test_a_retry_gets_the_same_answer_and_nothing_is_paid_again(
    name: str, more: tuple[str, ...], stack: Stack, sent: Sent
) -> None:
    result = sent[name, more]
    assert result.get(timeout=30) == ask(f"A text for {name}.")
    assert billed(stack, result.id) == {"0": 1}


@pytest.mark.parametrize(("name", "more"), ANEW)
def test_a_retry_after_a_bad_answer_asks_anew(
    name: str, more: tuple[str, ...], stack: Stack, sent: Sent
) -> None:
    """A ValueError says that the answer was bad; ``ask_again_on`` says what else does."""
    result = sent[name, more]
    assert result.get(timeout=30) == ask(f"A text for {name}.")
    assert billed(stack, result.id) == {"0": 1, "1": 1}


def test_a_retry_with_other_arguments_is_another_question(stack: Stack) -> None:
    """It got the answer to the old one.

    A request that changes from run to run gets the answer that was paid for, and a retry looked
    like one of those, though here the task itself said that it asks something else.
    """
    result = retries.asks_otherwise.delay("A first text.")
    assert result.get(timeout=30) == ask("Something else.")
    assert billed(stack, result.id) == {"0": 1, "1": 1}


def test_an_error_for_an_answer_is_asked_again(stack: Stack) -> None:
    wait_until_idle(stack)
    stack.emulator.fault("line_error", containing="Fails once.", times=1)
    result = retries.error_answer.delay("Fails once.")
    assert result.get(timeout=30) == ask("Fails once.")
    assert billed(stack, result.id) == {"0": 0, "1": 1}


def test_when_its_retries_are_used_up_a_task_fails_with_the_error_of_the_sdk(
    stack: Stack,
) -> None:
    """The task retries for a BadRequestError, so that is what the body sees, and the caller."""
    result = retries.error_answer.delay("Too hot.", temperature=5)
    live = retries.error_answer_live.delay("Too hot.", temperature=5)
    raised = []
    for each in (result, live):
        with pytest.raises(BadRequestError, match=r"400.*temperature") as error:
            each.get(timeout=30)
        raised.append(str(error.value))
    assert raised[0] == raised[1]
    assert result.state == "FAILURE"
    assert billed(stack, result.id) == {"0": 0, "1": 0, "2": 0, "3": 0}


def test_only_the_last_round_is_asked_again(stack: Stack) -> None:
    """The body had been content with the first answer, or it would not have gone on."""
    result = retries.second_is_bad.delay("Two rounds.")
    first = ask("Two rounds.")
    assert result.get(timeout=30) == [first, ask(f"Two rounds. {first}")]
    assert billed(stack, result.id) == {"0": 1, "1": 1, "2": 1}


def test_an_answer_that_does_not_parse_is_asked_again(stack: Stack) -> None:
    result = retries.second_does_not_parse.delay("Answer in JSON.")
    assert result.get(timeout=40)
    assert billed(stack, result.id) == {"0": 1, "1": 1, "2": 1}


def test_a_retry_that_races_the_end_of_its_own_run_is_not_lost(stack: Stack) -> None:
    """The message of a retry without a countdown is there before its run has ended.

    The other process waits for the end, and does not take the message for a double.
    """
    sent = [retries.storm.delay(f"Storm {number}.") for number in range(50)]
    answers = [result.get(timeout=60) for result in sent]
    assert answers == [ask(f"Storm {number}.") for number in range(50)]
    lines: dict[str, Any] = stack.emulator.ledger()["lines"]
    assert [lines[f"{result.id}-0"]["ok"] for result in sent] == [1] * 50
    assert not [f"{result.id}-1" for result in sent if f"{result.id}-1" in lines]
    # Nor did rescue have to bring one back.
    assert "the run before it has not ended" not in stack.processes[0].output()


def test_a_retry_waits_for_a_run_that_lingers(stack: Stack) -> None:
    """It does not end for rescue to bring it back: it goes on as soon as the other has ended."""
    worker, given_up = stack.processes[0], "the run before it has not ended"
    before = worker.output().count(given_up)
    result = retries.lingers.delay("Lingering.")

    def both_run() -> bool:
        inspected: Any = retries.app.control.inspect(timeout=0.5)
        active = [one["id"] for tasks in (inspected.active() or {}).values() for one in tasks]
        return active.count(result.id) == 2 or worker.output().count(given_up) > before

    wait_until(both_run, description="the retry has begun beside the run before it")
    for _ in range(2):
        stack.redis.rpush(f"notes:go:{result.id}", 1)
    assert result.get(timeout=40) == ask("Lingering.")
    assert billed(stack, result.id) == {"0": 1}
    assert worker.output().count(given_up) == before


def test_a_retry_that_could_not_be_sent_is_not_lost(stack: Stack) -> None:
    """Celery rejects a task whose retry finds no broker, and then nobody had it any more.

    One of 20,000 tasks under 19 restarts of Redis ended so, with its answer paid for.
    """
    result = retries.loses_its_retry.delay("A retry.")
    assert result.get(timeout=60) == ask("A retry.")
    assert billed(stack, result.id) == {"0": 1}


def test_a_retry_counts_as_one_task_in_the_journal(stack: Stack, sent: Sent) -> None:
    for result in sent.values():
        result.get(timeout=30)
    wait_until_idle(stack)
    assert list(stack.redis.scan_iter("{batchq}:bodies:*")) == []
    assert DatabaseDown.__name__ in stack.processes[0].output()
    assert app.main == "retries"
