"""Threads of a body: which task their calls belong to, and what is an error instead of a guess."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from typing import Any

import pytest
from openai import OpenAI

from batchq import RunEnded
from tests.apps import capture_threads
from tests.capture.bench import Bench, ask
from tests.harness import Stack

client = OpenAI()


def test_a_call_of_a_bare_thread_belongs_to_the_one_task_that_runs(bench: Bench) -> None:
    answers: list[str] = []

    def work() -> None:
        # What ends the body ends the thread too; unsuppressed, its excepthook would print it.
        with contextlib.suppress(BaseException):
            answers.append(ask(client, "hello"))

    @bench.task
    def body() -> str:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return answers[0]

    assert bench.run(body) == ask(client, "hello")
    assert bench.emulator.ledger()["lines_known"] == 1


def test_a_call_after_the_body_has_ended_is_an_error(bench: Bench) -> None:
    """A thread that a body left behind would ask for a task that nobody resumes for it."""
    ended = threading.Event()
    caught: list[BaseException] = []
    threads: list[threading.Thread] = []

    def work() -> None:
        ended.wait(10)
        try:
            ask(client, "too late")
        except RunEnded as error:
            caught.append(error)

    @bench.task
    def body() -> None:
        context = contextvars.copy_context()
        threads.append(threading.Thread(target=context.run, args=(work,)))
        threads[0].start()

    bench.run(body)
    ended.set()
    threads[0].join()
    assert "after its body had ended" in str(caught[0])
    assert bench.emulator.ledger()["live_calls"] == 0


# In Celery's threads pool, where one process runs several tasks

APP = "tests.apps.capture_threads"


@pytest.fixture(scope="module")
def pool(shared_stack: Stack) -> Stack:
    shared_stack.worker(APP, pool="threads", concurrency=4)
    shared_stack.beat(APP)
    return shared_stack


def results(*sent: Any) -> list[Any]:
    return [result.get(timeout=30) for result in sent]


def test_a_bare_thread_belongs_to_the_task_that_started_it(pool: Stack) -> None:
    """Also beside another task: it was an error there, for it carried no context."""
    words = ["bread", "butter"]
    texts = results(*(capture_threads.call_in_bare_thread.delay(word) for word in words))
    assert [word in text for word, text in zip(words, texts, strict=True)] == [True, True]


def test_a_thread_of_nobodys_is_an_error_in_a_process_that_runs_bodies(pool: Stack) -> None:
    """It cannot be told whose call it is; it must neither go live nor to the wrong task."""
    before = pool.emulator.ledger()["live_calls"]
    text = capture_threads.call_in_a_thread_of_nobodys.delay().get(timeout=30)
    assert text.startswith("ThreadWithoutRun")
    assert "batchq.live()" in text
    assert pool.emulator.ledger()["live_calls"] == before


def test_a_thread_with_its_context_belongs_to_its_task(pool: Stack) -> None:
    words = ["apples", "pears"]
    texts = results(*(capture_threads.call_in_context.delay(word) for word in words))
    assert [word in text for word, text in zip(words, texts, strict=True)] == [True, True]


def test_a_plain_task_beside_a_batched_one_goes_live(pool: Stack) -> None:
    before = pool.emulator.ledger()["live_calls"]
    batched, plain = capture_threads.hold.delay("batched"), capture_threads.plain.delay("plain")
    assert all(results(batched, plain))
    ledger = pool.emulator.ledger()
    assert ledger["live_calls"] == before + 1


def test_a_client_made_before_batchq_was_imported_is_captured(pool: Stack) -> None:
    before = pool.emulator.ledger()
    assert capture_threads.with_early_client.delay("hello").get(timeout=30)
    after = pool.emulator.ledger()
    assert after["live_calls"] == before["live_calls"]
    assert after["lines_known"] == before["lines_known"] + 1
