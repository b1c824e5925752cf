"""Fixtures: each pytest-xdist worker has a Valkey server and an emulator of its own.

Their addresses are in the environment before any test module is imported, so that a Celery app
under test can be imported like any other module. The servers start when a test first asks.
"""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.harness import Emulator, Process, ReservedPort, Server, Stack

REDIS_PORT = pytest.StashKey[ReservedPort]()
EMULATOR_PORT = pytest.StashKey[ReservedPort]()
PROCESSES = pytest.StashKey[list[Process]]()


def pytest_configure(config: pytest.Config) -> None:
    redis_port = config.stash[REDIS_PORT] = ReservedPort()
    emulator_port = config.stash[EMULATOR_PORT] = ReservedPort()
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "BATCHQ_"))]:
        del os.environ[name]
    os.environ["REDIS_URL"] = f"redis://127.0.0.1:{redis_port.number}/0"
    # Tests cannot spend: every client that reads the environment talks to the emulator.
    os.environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{emulator_port.number}/v1"
    os.environ["OPENAI_API_KEY"] = harness.API_KEY


@pytest.fixture(scope="session")
def _lasting() -> list[Process]:
    """The servers that outlive a test."""
    return []


@pytest.fixture(autouse=True)
def _leaves_nothing_running(_lasting: list[Process]) -> Iterator[None]:
    mark = os.environ[harness.MARK] = uuid.uuid4().hex
    yield
    del os.environ[harness.MARK]
    assert not harness.left_running(mark, but_for=_lasting)


@pytest.fixture(scope="session")
def _server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    _lasting: list[Process],
) -> Iterator[Server]:
    server = Server(request.config.stash[REDIS_PORT], tmp_path_factory.mktemp("valkey"))
    _lasting.append(server)
    yield server
    server.stop()


@pytest.fixture
def server(_server: Server) -> Server:
    """A running, empty Valkey server, for a test that stops and starts it."""
    if _server.exit_code is not None:
        _server.start()
    _server.resume()
    _server.client.flushall()
    return _server


@pytest.fixture
def redis_url(server: Server) -> str:
    """An empty Redis."""
    return server.url


@pytest.fixture(scope="session")
def _emulator(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    _lasting: list[Process],
) -> Iterator[Emulator]:
    directory = tmp_path_factory.mktemp("emulator")
    emulator = Emulator(request.config.stash[EMULATOR_PORT], directory, *FAST)
    _lasting.append(emulator)
    yield emulator
    emulator.stop()


#: A batch takes a moment: long enough to be seen waiting, short enough for a test.
FAST = ("--validate-seconds", "0.1", "--run-seconds", "0.2", "--finalize-seconds", "0.1")


@pytest.fixture
def emulator(_emulator: Emulator) -> Emulator:
    """An emulator with no files, no batches, no faults and no bill."""
    _emulator.reset()
    return _emulator


@pytest.fixture
def stack(
    request: pytest.FixtureRequest, server: Server, emulator: Emulator, tmp_path: Path
) -> Iterator[Stack]:
    """Starts workers and beats on this test's Redis and emulator."""
    stack = Stack(server, emulator, tmp_path)
    request.node.stash[PROCESSES] = stack.processes
    yield stack
    stack.stop()
    # Celery's results talk to Redis when they are collected: now, while there is one.
    gc.collect()


@pytest.fixture
def worker(stack: Stack) -> Callable[..., Process]:
    return stack.worker


@pytest.fixture
def beat(stack: Stack) -> Callable[..., Process]:
    return stack.beat


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test shows what its processes wrote."""
    report = yield
    if report.failed:
        for process in item.stash.get(PROCESSES, []):
            report.sections.append((f"{process.name}: {process.log}", process.output()[-20_000:]))
    return report
