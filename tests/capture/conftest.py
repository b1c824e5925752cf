from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from batchq.journal.adoption import KNOWN_EPOCHS
from tests.capture.bench import Bench
from tests.harness import Emulator, Server


def pytest_configure(config: pytest.Config) -> None:
    # Celery 5.6 stores results by a redis-py method that redis-py has given up; a worker would
    # only log it, but here its tracer runs in the process of the tests.
    config.addinivalue_line("filterwarnings", "ignore:Call to deprecated setex:DeprecationWarning")


@pytest.fixture
def server(_server: Server) -> Server:
    """An empty Valkey server. Benches subscribe to no results, so none are left to collect."""
    _server.client.flushall()
    # To this process it is a new Redis, and not one that has lost its journal.
    KNOWN_EPOCHS.clear()
    return _server


@pytest.fixture
def make_bench(redis_url: str, emulator: Emulator) -> Iterator[Callable[..., Bench]]:
    """Makes benches with settings of the test's own."""
    made: list[Bench] = []

    def make(**settings: Any) -> Bench:
        made.append(Bench(emulator, **settings))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()
