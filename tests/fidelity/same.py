"""The test of every environment: a module names its ENVIRONMENT and takes this in."""

from __future__ import annotations

import pytest

from tests.fidelity.matrix import Matrix


# All of them are run before the first is looked at.
@pytest.mark.timeout(300)
def test_it_is_as_without_batchq(behaviour: str, matrix: Matrix) -> None:
    batched, live = matrix.outcomes(behaviour)
    assert batched == live
