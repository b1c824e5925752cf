"""Bodies drawn at random get the answers to their own questions, and pay for each of them once."""

from __future__ import annotations

import pytest

from tests.capture.bench import Bench
from tests.cases.bodies import COMMON, expected, run_many


def test_answers_tell_questions_apart() -> None:
    texts = [f"{seed}:{number}.{word}" for seed in "12" for number in range(50) for word in "01"]
    assert len({expected(text) for text in (*COMMON, *texts)}) == len(COMMON) + len(texts)


def test_each_body_gets_its_own_answers(bench: Bench) -> None:
    run_many(bench, seed=1, bodies=100)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 22))
def test_ten_thousand_bodies_get_their_own_answers(bench: Bench, seed: int) -> None:
    run_many(bench, seed=seed, bodies=250)
