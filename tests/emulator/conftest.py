"""Emulators as the tests want them: one that is as fast as it can be, one that waits for its clock.

Each is one process for all tests, and as new for each of them.
"""

from collections.abc import Iterator

import pytest

from batchq.emulator import Emulator, running
from tests.emulator.support import HOUR, Desk, desk


@pytest.fixture(autouse=True)
def _leaves_nothing_running() -> None:
    """Nothing to watch: two emulators last for the session, the others end with their blocks."""


@pytest.fixture(scope="session")
def _fast() -> Iterator[Emulator]:
    with running() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def _slow() -> Iterator[Emulator]:
    with running(
        validate_seconds=HOUR, run_seconds=HOUR, finalize_seconds=HOUR, cancel_seconds=HOUR
    ) as emulator:
        yield emulator


@pytest.fixture
def emulator(_fast: Emulator) -> Emulator:
    _fast.reset()
    return _fast


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Desk]:
    made = desk(emulator)
    with made.client:
        yield made


@pytest.fixture
def slow(_slow: Emulator) -> Iterator[Desk]:
    """Every state lasts an hour of the emulator's clock, which only moves by `advance`."""
    _slow.reset()
    made = desk(_slow)
    with made.client:
        yield made
