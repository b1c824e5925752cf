"""A part of the sweep that is short enough for every run: see catalogue.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.catalogue import Case, short

pytestmark = pytest.mark.long

if TYPE_CHECKING:
    from tests.faults.bench import Bench


@pytest.mark.parametrize("case", short("user"), ids=lambda case: case.point.name)
def test_a_worker_is_killed(bench: Bench, case: Case) -> None:
    bench.play(case).must_be_good()
