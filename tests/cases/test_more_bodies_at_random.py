"""The second half of the ten thousand: in a file of its own, so that another process runs it."""

from __future__ import annotations

import pytest

from tests.capture.bench import Bench
from tests.cases.bodies import run_many


@pytest.mark.long
@pytest.mark.parametrize("seed", range(22, 42))
def test_ten_thousand_bodies_get_their_own_answers(bench: Bench, seed: int) -> None:
    run_many(bench, seed=seed, bodies=250)
