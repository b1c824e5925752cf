"""The short form of `make chaos`, and whether its books would notice what it is there to find."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.chaos import work
from tests.chaos.books import Books, repeats
from tests.chaos.events import Event
from tests.chaos.fleet import Disturbance
from tests.chaos.plan import Decision, How, Target, plan
from tests.harness import Process

pytestmark = pytest.mark.long

SEED = 126


@pytest.mark.timeout(400)
def test_nothing_is_lost_while_processes_die(tmp_path: Path) -> None:
    """A worker, one of its children, Valkey and the producer are killed, and a worker sleeps."""
    words = [sys.executable, "-m", "tests.chaos", "--tasks", "300", "--kills", "5"]
    words += ["--seed", str(SEED), "--workers", "2"]
    chaos = Process(words, name="chaos", log=tmp_path / "chaos.log")
    try:
        code = chaos.wait(timeout=300)
    finally:
        chaos.stop(patience=60)
    assert code == 0, chaos.output()[-5000:]
    kills = re.search(r"(\d) kills and pauses, 2 workers", chaos.output())
    assert kills, chaos.output()
    assert int(kills[1]) >= 4, "they were carried out"


def test_the_same_seed_makes_the_same_decisions() -> None:
    def decided(seed: int) -> list[Decision]:
        return plan(seed=seed, kills=50, progress=1000, workers=3, beats=2, lease=4)

    assert decided(SEED) == decided(SEED)
    assert decided(SEED) != decided(SEED + 1)
    assert [one.at for one in decided(SEED)] == sorted(one.at for one in decided(SEED))


def test_the_same_seed_makes_the_same_work() -> None:
    assert list(work.units(500, SEED)) == list(work.units(500, SEED))
    items = [item.number for unit in work.units(500, SEED) for item in unit.items]
    assert items == list(range(500))
    results = [r for unit in work.units(500, SEED) for r in work.expected(SEED, unit).values()]
    answered = [result for result in results if result is not None]
    assert len(set(answered)) == len(answered), "no answer can be taken for another's"


def _run(pid: int, at: float, *words: str) -> list[Event]:
    return [Event(at + step / 10, pid, word, 1) for step, word in enumerate(words)]


def _disturbed(target: Target, how: How, at: float, until: float, *pids: int) -> Disturbance:
    return Disturbance(Decision(0, target, how, 0, until - at), at, until, frozenset(pids))


WHOLE = ("begun", "returned", "succeeded", "settled")


@pytest.mark.parametrize(
    ("first", "disturbance", "twice"),
    [
        (WHOLE, _disturbed("worker", "kill", 50, 51, 100), True),
        (WHOLE, _disturbed("worker", "kill", 0.15, 1, 999), True),
        (WHOLE[:2], _disturbed("worker", "kill", 0.15, 1, 100), False),
        (WHOLE[:2], _disturbed("child", "kill", 0.15, 1, 100), False),
        (WHOLE, _disturbed("worker", "pause", 0.15, 5, 100), False),
        (WHOLE, _disturbed("valkey", "kill", 0.15, 1, 7), False),
        (WHOLE, _disturbed("valkey", "kill", 5, 6, 7), True),
        (WHOLE, _disturbed("emulator", "kill", 0.15, 1, 8), True),
    ],
)
def test_a_task_that_ends_twice_is_noticed(
    first: tuple[str, ...], disturbance: Disturbance, *, twice: bool
) -> None:
    """Unless its first run was cut off before its end was written down."""
    books = Books()
    books.add([*_run(100, 0, *first), *_run(200, 20, *WHOLE)])
    found = repeats(books, [disturbance], plain=set())
    assert found.twice == ((1,) if twice else ())
    assert found.cut == (() if twice else (1,))


def test_a_run_that_had_lost_its_task_does_not_count() -> None:
    """It slept with the answer in its hands; when it woke up, another had brought the result."""
    books = Books()
    books.add([*_run(100, 0, "begun", "returned"), *_run(200, 5, *WHOLE), *_run(100, 9, "parked")])
    found = repeats(books, [], plain=set())
    assert not found.twice
    assert not found.cut
