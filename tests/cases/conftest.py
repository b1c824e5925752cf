"""The cases stand on what the tests of capture stand on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.capture.bench import Bench
from tests.capture.conftest import bench, make_bench, pytest_configure, server

__all__ = ["bench", "make_bench", "pytest_configure", "server"]


@pytest.fixture
def slow(make_bench: Callable[..., Bench]) -> Bench:
    """A bench whose accounts pause for as long as in production."""
    # Here: its client reads the environment, which is not set yet when this file is read.
    from tests.cases.pauses import PAUSES

    return make_bench(**PAUSES)
