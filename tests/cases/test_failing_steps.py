"""A step that raises three times in a row is set aside, like one that dies three times.

It was raised at each try, for ever: a traceback every few seconds, and tasks that stayed BATCHED.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from kombu.exceptions import OperationalError

import batchq
from batchq.errors import ConfigurationError, KeyMissing, ProviderUnclear
from batchq.flow.flush import flush
from batchq.flow.mishaps import contained, is_passing, reason_of
from batchq.flow.rescue import rescue
from batchq.prompt import Lane
from batchq.provider.client import Provider
from tests.apps.base import make_app
from tests.harness import Emulator, Server, wait_until
from tests.journals import LANE, capture, outcomes
from tests.test_flow import STEPS, Steps

OTHER = Lane(account="default", endpoint=LANE.endpoint, model="gpt-6-luna")


class Contained(Steps):
    """Takes its steps as workers do, and rescue after each round."""

    def step(self) -> bool:
        wakeups = self.wakeups()
        for wakeup in wakeups:
            with contained(wakeup.verb):
                STEPS[wakeup.verb](self.app, *wakeup.args, **wakeup.kwargs)
        rescue(self.app)
        return bool(wakeups)


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Contained:
    soon = {"batchq_poll_first": 0.05, "batchq_poll_longest": 0.3, "batchq_create_grace": 0.3}
    app = make_app("failing", batchq_tick=0.2, **soon)
    return Contained(server, emulator, app)


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[[], int]]:
    """Lets a call of the provider raise, of the file or batch that it is made for first; gives how
    often it did.
    """

    def install(name: str, error: Exception, *, times: int = 1000) -> Callable[[], int]:
        call, raised = getattr(Provider, name), list[Any]()

        def failing(provider: Provider, *args: Any, **options: Any) -> Any:
            about = options.get("batch_key") or options.get("name") or args[0]
            if about in (raised or [about]) and len(raised) < times:
                raised.append(about)
                raise error
            return call(provider, *args, **options)

        monkeypatch.setattr(Provider, name, failing)
        return lambda: len(raised)

    return install


@pytest.mark.parametrize("call", ["upload", "create", "retrieve", "rows"])
def test_a_step_that_fails_three_times_is_set_aside(
    steps: Contained,
    fails: Callable[..., Callable[[], int]],
    caplog: pytest.LogCaptureFixture,
    call: str,
) -> None:
    capture(steps.journal)
    capture(steps.journal, lane=OTHER)
    times = fails(call, RuntimeError("half of it\nis missing"))
    with caplog.at_level(logging.ERROR):
        flush(steps.app, everything=True)
        steps.until(lambda: len(steps.journal.batches.open()) == 1, "the other batch is over")
        (one,) = steps.until(lambda: batchq.dead(steps.app), "it is set aside")
    assert times() == 3
    assert re.fullmatch(
        r"set aside: 3 steps on it failed, the last one with RuntimeError at flow/\w+\.py:\d+",
        one.reason,
    )
    assert batchq.status(steps.app).dead == 1
    assert "is set aside until somebody retries it" in caplog.text
    steps.step()
    assert times() == 3, "it is left alone"


def test_it_is_told_and_retried(
    steps: Contained, fails: Callable[..., Callable[[], int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def receive(event: Any, **_: Any) -> None:
        told.append(str(event))

    batchq.signals.batch_set_aside.connect(receive, sender=steps.app)
    asked = capture(steps.journal)
    fails("rows", RuntimeError("no"), times=3)
    flush(steps.app, everything=True)
    (one,) = steps.until(lambda: batchq.dead(steps.app), "it is set aside")
    (words,) = told
    assert words.startswith(f"batch {one.id} of lane {LANE.name} is {one.reason}; ")
    assert f"batchq.retry(app, '{one.id}')" in words
    assert batchq.retry(steps.app, one.id)
    (over,) = steps.until_over()
    assert over["answered"] == "1"
    assert "aside" not in over
    assert [found is not None and found.succeeded for found in outcomes(steps.journal, asked)] == [
        True
    ]
    assert steps.emulator.ledger()["batches_created"] == 1


def test_a_step_that_gets_on_in_between_is_not_set_aside(
    steps: Contained, fails: Callable[..., Callable[[], int]]
) -> None:
    capture(steps.journal)
    times = fails("rows", RuntimeError("no"), times=2)
    flush(steps.app, everything=True)
    (over,) = steps.until_over()
    assert times() == 2
    assert over["answered"] == "1"


def test_a_batch_that_cannot_be_adopted_stops_no_other(
    steps: Contained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a journal is lost, nothing is sealed before the provider is looked through."""
    capture(steps.journal)
    lost = steps.submitted().id
    rows = Provider.rows

    def odd(provider: Provider, file_id: str) -> Iterator[bytes]:
        for line in rows(provider, file_id):
            yield line.replace(b'"model": "gpt-5.6-luna"', b'"model": {"name": "luna"}')

    monkeypatch.setattr(Provider, "rows", odd)
    steps.server.client.flushall()
    asked = capture(steps.journal, lane=OTHER)
    flush(steps.app, everything=True)
    steps.until(lambda: outcomes(steps.journal, asked) != [None], "it has its outcome")
    assert f"batch {lost}" not in caplog.text, "it has no line that can be read"


def test_what_dies_and_what_fails_counts_together(
    steps: Contained, fails: Callable[..., Callable[[], int]]
) -> None:
    capture(steps.journal)
    fails("retrieve", RuntimeError("no"))
    batch_id = steps.submitted().id
    for _ in range(2):
        lease = steps.journal.batches.begin(batch_id)
        assert lease is not None
        steps.journal.store.redis.delete(lease.key)
    wait_until(lambda: steps.step() or batchq.dead(steps.app), description="it is set aside")


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("Error 111 connecting to 127.0.0.1:6379. Connection refused."),
        redis.TimeoutError("Timeout reading from socket"),
        redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
        redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
        redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        OperationalError("[Errno 111] Connection refused"),
        OSError(28, "No space left on device"),
        ConnectionResetError(104, "Connection reset by peer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_passes_is_not_counted(
    steps: Contained,
    fails: Callable[..., Callable[[], int]],
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """And there is no traceback of it: one line says what happened."""
    capture(steps.journal)
    times = fails("retrieve", error, times=5)
    flush(steps.app, everything=True)
    (over,) = steps.until_over()
    assert times() == 5
    assert over["answered"] == "1"
    assert not [each for each in caplog.records if each.exc_info]
    told = [each for each in caplog.messages if "cannot be taken just now" in each]
    assert len(told) == 5
    assert reason_of(error) in told[0]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ProviderUnclear("default", "batches.retrieve", "503"), True),
        (ConfigurationError("batchq_accounts", None, "no account"), True),
        (KeyMissing("KEY"), True),
        (redis.DataError("Invalid input of type: 'NoneType'"), False),
        (redis.ResponseError("WRONGTYPE Operation against a key"), False),
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), True),
        (UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates not allowed"), False),
        (RecursionError(), False),
        (MemoryError(), False),
    ],
)
def test_whose_fault_it_is(error: Exception, *, passes: bool) -> None:
    assert is_passing(error) is passes


def test_a_reason_is_one_short_line() -> None:
    assert reason_of(OSError("a\nb\x00")) == "OSError: a b\x00"
    assert reason_of(KeyError("what a prompt says")) == "KeyError at elsewhere"
    assert reason_of(ValueError("half of \ud83d")) == "ValueError: half of ?"
    assert reason_of(ValueError()) == "ValueError"
    assert len(reason_of(ValueError("x" * 10_000))) == 200
