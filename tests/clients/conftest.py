"""The bench of tests/capture, with a model behind its emulator that calls tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.capture.conftest import bench, make_bench, server
from tests.clients import model
from tests.conftest import EMULATOR_PORT, FAST, LASTING

pytest.register_assert_rewrite("tests.clients.both")

if TYPE_CHECKING:
    from tests.capture.bench import Bench
    from tests.clients.both import Both
    from tests.harness import Emulator

__all__ = ["bench", "make_bench", "server"]


@pytest.fixture(scope="session")
def _emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    from tests.harness import Emulator

    with model.serving() as url:
        port = request.config.stash[EMULATOR_PORT]
        emulator = Emulator(port, *FAST, "--upstream", url)
        emulator.start()
        request.config.stash[LASTING].append(emulator)
        yield emulator
        emulator.stop()


@pytest.fixture
def both(bench: Bench) -> Both:
    from tests.clients.both import Both

    return Both(bench)
