"""Emulators as the tests want them: one that is as fast as it can be, one that waits for its clock.

Each is one process for all tests, and as new for each of them.
"""

from collections.abc import Iterator

import pytest

from batchq.emulator import Emulator, running
from tests.conftest import LASTING
from tests.emulator.support import HOUR, Desk, desk


@pytest.fixture(scope="session")
def _fast(request: pytest.FixtureRequest) -> Iterator[Desk]:
    with running() as emulator:
        request.config.stash[LASTING].append(emulator)
        made = desk(emulator)
        with made.client:
            yield made


@pytest.fixture(scope="session")
def _slow(request: pytest.FixtureRequest) -> Iterator[Desk]:
    with running(
        validate_seconds=HOUR, run_seconds=HOUR, finalize_seconds=HOUR, cancel_seconds=HOUR
    ) as emulator:
        request.config.stash[LASTING].append(emulator)
        made = desk(emulator)
        with made.client:
            yield made


@pytest.fixture
def api(_fast: Desk) -> Desk:
    """Every state takes no time."""
    _fast.emulator.reset()
    return _fast


@pytest.fixture
def emulator(api: Desk) -> Emulator:
    return api.emulator


@pytest.fixture
def slow(_slow: Desk) -> Desk:
    """Every state lasts an hour of the emulator's clock, which only moves by `advance`."""
    _slow.emulator.reset()
    return _slow
