"""Fixtures: each pytest-xdist worker has a Valkey server and an emulator of its own.

Their addresses are in the environment before any test module is imported, so that a Celery app
under test can be imported like any other module. The servers start when a test first asks.
"""

from __future__ import annotations

import contextlib
import gc
import os
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tests.installed  # noqa: F401 for its effect, before all that reads what is installed

# isort: split
import kombu.pools
import pytest
from celery import signals
from celery.result import AsyncResult
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests import harness
from tests.harness import Emulator, HasPid, Process, ReservedPort, Server, Stack

if TYPE_CHECKING:
    from tests.outcomes import World

# How long an example takes says how busy the machine is, in CI and elsewhere.
hypothesis_settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("busy")

REDIS_PORT = pytest.StashKey[ReservedPort]()
EMULATOR_PORT = pytest.StashKey[ReservedPort]()
PROCESSES = pytest.StashKey[list[Process]]()
#: The servers that outlive a test.
LASTING = pytest.StashKey[list[HasPid]]()


def pytest_configure(config: pytest.Config) -> None:
    redis_port = config.stash[REDIS_PORT] = ReservedPort()
    config.stash[LASTING] = []
    emulator_port = config.stash[EMULATOR_PORT] = ReservedPort()
    harness.talk_to(redis_port, emulator_port)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[REDIS_PORT].release()
    config.stash[EMULATOR_PORT].release()


#: The files that take the longest, the longest first: whoever begins one of them last is the last.
LONGEST = (
    *("test_security", "test_crashes", "test_dead", "test_redis_prefork", "test_typing"),
    *("test_outcomes_of_batches", "test_outcomes", "test_recovery", "test_browser", "test_tracing"),
    *("test_broker_workers", "test_split", "test_details", "test_encryption", "test_retries"),
    *("test_health", "test_flow", "test_broker_faults", "test_rubbish", "test_signals"),
    *("test_cli_check", "test_revoke", "test_cli", "test_restart", "test_prometheus"),
    *("test_states", "test_chord_part", "test_keepalive", "test_journal_properties"),
    *("test_hostile_rows", "test_refused_accounts", "test_pytest_plugin", "test_lost_journal"),
    *("test_paused_account_in_workers", "test_large_bodies", "test_paused_accounts"),
    # Of those marked long.
    *("test_bodies_at_random", "test_more_bodies_at_random", "test_demo", "test_partitions"),
    *("test_many_images", "test_chaos", "test_redis_solo", "test_redis_threads", "test_failover"),
    *("test_redis_links", "test_compose", "test_examples", "test_clocks", "test_standin"),
    *("test_sweep_flush", "test_sweep_user", "test_sweep_fetch", "test_sweep_rescue"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    # What is here by now stays to the end: all that was imported, and some thousand tests. Each
    # full collection would look through it again, for a tenth of the time that the tests take.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _leaves_nothing_running(request: pytest.FixtureRequest) -> Iterator[None]:
    mark = os.environ[harness.MARK] = uuid.uuid4().hex
    yield
    del os.environ[harness.MARK]
    lasting = [running.pid for running in request.config.stash[LASTING]]
    assert not harness.left_running(mark, but_for=lasting)


@pytest.fixture(scope="session")
def _server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = Server(request.config.stash[REDIS_PORT], tmp_path_factory.mktemp("valkey"))
    request.config.stash[LASTING].append(server)
    yield server
    gc.collect()
    for result in gc.get_objects():
        # One that something still holds (a traceback, say) would ask a server that is gone.
        if issubclass(type(result), AsyncResult):
            vars(result)["backend"] = None
    server.stop()


@pytest.fixture
def server(_server: Server) -> Iterator[Server]:
    """A running, empty Valkey server; a test may stop and start it."""
    _server.client.flushall()
    # To this process it is a new Redis, and not one that has lost its journal.
    from batchq.journal.adoption import KNOWN_EPOCHS

    KNOWN_EPOCHS.clear()
    first = _server.pid
    yield _server
    _server.resume()
    if _server.exit_code is not None:
        _server.start()
    # What Celery keeps open may be dead by now, and the next test has nothing to do with that.
    for pool in kombu.pools.connections.values():
        _empty(pool)
    if _server.pid != first:
        # A result that Celery gave out would talk to the server that is gone when it goes itself.
        gc.collect()


def _empty(pool: Any) -> None:
    """Close all connections of a pool. One whose close fails is out of it as well, and does not
    leave the others in there: the next test would get a connection that is dead.
    """
    closed = False
    while not closed:
        with contextlib.suppress(Exception):
            pool.force_close_all(close_pool=False)
            closed = True
    pool.setup()


@pytest.fixture
def redis_url(server: Server) -> str:
    """An empty Redis."""
    return server.url


@pytest.fixture(scope="session")
def _emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    emulator = Emulator(request.config.stash[EMULATOR_PORT], *FAST)
    emulator.start()
    request.config.stash[LASTING].append(emulator)
    yield emulator
    emulator.stop()


#: A batch takes a moment: long enough to be seen waiting, short enough for a test.
FAST = ("--validate-seconds", "0.1", "--run-seconds", "0.2", "--finalize-seconds", "0.1")


@pytest.fixture
def emulator(_emulator: Emulator) -> Iterator[Emulator]:
    """An emulator with no files, batches, faults or bill; a test may stop and start it."""
    _emulator.reset()
    yield _emulator
    if not _emulator.runs:
        _emulator.stop()
        _emulator.start()


@pytest.fixture
def stack(
    request: pytest.FixtureRequest, server: Server, emulator: Emulator, tmp_path: Path
) -> Iterator[Stack]:
    """Starts workers and beats on this test's Redis and emulator."""
    stack = Stack(server, emulator, tmp_path)
    request.node.stash[PROCESSES] = stack.processes
    yield stack
    stack.stop()


Share = Callable[[pytest.FixtureRequest], AbstractContextManager[Stack]]


@pytest.fixture(scope="session")
def share_stack(
    _server: Server, _emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Share:
    """Makes a stack for the scope of the fixture that asks; what it starts outlives a test."""

    @contextmanager
    def share(request: pytest.FixtureRequest) -> Iterator[Stack]:
        _server.client.flushall()
        _emulator.reset()
        stack = Stack(_server, _emulator, tmp_path_factory.mktemp("shared"))
        stack.lasting = request.config.stash[LASTING]
        request.node.stash[PROCESSES] = stack.processes
        try:
            yield stack
        finally:
            stack.stop()

    return share


@pytest.fixture(scope="module")
def shared_stack(request: pytest.FixtureRequest, share_stack: Share) -> Iterator[Stack]:
    """A stack that the tests of a module share, so that its workers start once.

    Start its processes in a fixture of the module; its Redis and bill are as new only once.
    """
    with share_stack(request) as stack:
        yield stack


@pytest.fixture
def worker(stack: Stack) -> Callable[..., Process]:
    return stack.worker


@pytest.fixture
def beat(stack: Stack) -> Callable[..., Process]:
    return stack.beat


@pytest.fixture(scope="module")
def outcomes_stack(shared_stack: Stack) -> Stack:
    """One worker and one beat of tests/apps/outcomes.py, for all tests of a module."""
    shared_stack.worker("tests.apps.outcomes")
    shared_stack.beat("tests.apps.outcomes")
    return shared_stack


@pytest.fixture
def world(outcomes_stack: Stack) -> Iterator[World]:
    """A worker and a beat that run already, on an empty Redis and an emulator as new."""
    # Here, so that only the tests that need this app import it.
    from tests.outcomes import World

    world = World(outcomes_stack)
    world.quiet()
    outcomes_stack.redis.flushall()
    outcomes_stack.emulator.reset()
    yield world
    world.sent.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test shows what its processes wrote."""
    report = yield
    _no_skip_in_ci(report)
    if report.failed:
        for process in [p for node in item.listchain() for p in node.stash.get(PROCESSES, [])]:
            report.sections.append((f"{process.name}: {process.log}", process.output()[-20_000:]))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _no_skip_in_ci(report)
    return report


#: How the reason of a skip begins that CI may have: it runs the test, but not here.
ELSEWHERE = "CI has this elsewhere: "


def _no_skip_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    """A test that is skipped where everything is installed is a hole that nobody sees."""
    if not report.skipped or not os.environ.get("CI") or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if ELSEWHERE not in reason:
        report.outcome = "failed"
        report.longrepr = f"In CI nothing may be skipped, but {report.nodeid} is. {reason}"


@pytest.fixture
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hears of the tasks that are sent: apps of other tests of this process do."""
    for signal in (signals.before_task_publish, signals.after_task_publish, signals.task_sent):
        monkeypatch.setattr(signal, "receivers", [])
