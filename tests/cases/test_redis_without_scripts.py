"""A Redis that was restarted, or has failed over, knows no script.

A fetch died in a pipeline with "raised unexpected: NoScriptError" and a traceback, and waited for
rescue: redis-py looks for scripts before a pipeline, and never again when it repeats one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

from batchq.common.points import arm
from batchq.journal import journal_of
from tests.capture.bench import Bench, ask
from tests.harness import Server, wait_until
from tests.journals import LANE, capture_many, outcome

client = OpenAI()


@contextmanager
def losing_scripts(server: Server) -> Iterator[Callable[[], int]]:
    """The server forgets its scripts all the time; gives how often it has."""
    over, times = threading.Event(), Counter[str]()

    def flush() -> None:
        while not over.is_set():
            server.client.script_flush()
            times["flushed"] += 1

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        yield lambda: times["flushed"]
    finally:
        over.set()
        thread.join()


def test_a_journey_on_a_redis_that_forgets_its_scripts(bench: Bench, server: Server) -> None:
    """Two rounds, with captures, seals, answers and settles in them."""
    bodies: list[str] = []

    @bench.task
    def body(text: str) -> str:
        bodies.append(ask(client, text) + ask(client, f"more of {text}"))
        return bodies[-1]

    with losing_scripts(server) as flushed:
        sent = [bench.send(body, f"text {n}") for n in range(20)]
        bench.deliver()
        for _ in range(2):
            bench.answer()
            bench.deliver()
    assert flushed() > 100
    assert [result.state for result in sent] == ["SUCCESS"] * 20
    assert len(bodies) == 20
    lines = bench.emulator.ledger()["lines"]
    assert [line["ok"] for line in lines.values()] == [1] * 40, "each is paid for once"


def test_what_had_its_effect_is_not_done_again(bench: Bench, server: Server) -> None:
    """Where scripts are lost in the middle of a pipeline, some of its calls had theirs."""
    journal = journal_of(bench.app)
    tasks = capture_many(journal, 300)
    asked = [(one.custom_ids[0], outcome()) for one in tasks]
    with losing_scripts(server):
        words = Counter(journal.answers.add(LANE, asked))
    assert words == {"READY": 300}
    assert journal.tallies.counters()["answered"] == 300


@pytest.mark.parametrize("place", ["seal.call", "upload.intend", "answer.call", "close.call"])
def test_a_step_sees_a_restart_through(
    bench: Bench, server: Server, tmp_path: Path, place: str
) -> None:
    """Redis is killed and started again in the middle of a step; the step does not notice."""

    @bench.task
    def body() -> str:
        return ask(client, "before the restart")

    bench.ask(body)
    reached = tmp_path / "reached"
    arm(f"{place}:1:wait:{reached}")
    try:
        with ThreadPoolExecutor(1) as pool:
            step = pool.submit(bench.answer)
            wait_until(reached.exists, description=f"a step is at {place}")
            server.kill()
            server.start()
            reached.unlink()
            step.result(timeout=30)
    finally:
        arm(None)
    assert bench.deliver() == 1
    assert bench.journal.waiting.count() == 0
    assert bench.emulator.ledger()["batches_created"] == 1
