"""An error in Batchq itself is loud, and stops nothing but what it is met in.

It was one line, "lane X is left out (TypeError)", at every tick and for ever: nobody could tell
where it came from, and nothing but that line told of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

import batchq
from batchq.flow.flush import flush
from batchq.journal.lanes import Lanes
from batchq.journal.tallies import Tallies
from batchq.journal.tasks import Tasks
from batchq.metrics import collector
from batchq.prompt import Lane
from batchq.provider.client import Provider
from tests.apps.base import make_app
from tests.cases.test_failing_steps import OTHER, Contained
from tests.commands import Commands
from tests.harness import Emulator, Server
from tests.journals import LANE, capture, outcomes

SECRET = "canary-prompt-7d20"
"""In the words of the error, as what was found in Redis may be."""


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Contained:
    soon = {"batchq_poll_first": 0.05, "batchq_poll_longest": 0.3, "batchq_create_grace": 0.3}
    return Contained(server, emulator, make_app("mistaken", batchq_tick=0.2, **soon))


Mistake = Callable[[type, str, Callable[..., bool]], None]


@pytest.fixture
def mistake(monkeypatch: pytest.MonkeyPatch) -> Mistake:
    """Plants a TypeError in a method, where the call is ``about`` what is to fail."""

    def plant(cls: type, name: str, about: Callable[..., bool]) -> None:
        right = getattr(cls, name)

        def wrong(self: Any, *args: Any, **options: Any) -> Any:
            if about(*args, **options):
                raise TypeError(SECRET)
            return right(self, *args, **options)

        monkeypatch.setattr(cls, name, wrong)

    return plant


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert SECRET not in caplog.text
    return [text for text in caplog.messages if "an error in Batchq itself" in text]


def metrics(steps: Contained) -> str:
    registry = CollectorRegistry()
    registry.register(collector(steps.app))
    return generate_latest(registry).decode()


def test_the_seal_of_one_lane(
    steps: Contained, mistake: Mistake, caplog: pytest.LogCaptureFixture
) -> None:
    def is_other(lane: Lane, *_: Any, **__: Any) -> bool:
        return lane == OTHER

    mistake(Lanes, "seal", is_other)
    asked = capture(steps.journal)
    capture(steps.journal, lane=OTHER)
    flush(steps.app, everything=True)
    steps.until_over()
    assert outcomes(steps.journal, asked) != [None], "the other lane goes on"
    first, *_ = told(caplog)
    assert first.startswith(
        f"the lane {OTHER.name} is skipped because of an error in Batchq itself (TypeError at flow/"
    )
    assert 'flow/flush.py", line' in first, "its frames"
    (one,) = batchq.status(steps.app).own_errors
    assert one.what.startswith("TypeError at flow/flush.py:")
    assert f'batchq_own_errors_total{{what="{one.what}"}}' in metrics(steps)
    assert one.what in Commands(steps.app).run("check", code=1).output


@pytest.mark.parametrize("call", ["upload", "create", "retrieve", "rows"])
def test_a_step_on_a_batch(
    steps: Contained, mistake: Mistake, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    first: list[Any] = []

    def is_first(*args: Any, **options: Any) -> bool:
        about = options.get("batch_key") or options.get("name") or args[0]
        first[:] = first or [about]
        return bool(about == first[0])

    mistake(Provider, call, is_first)
    capture(steps.journal)
    capture(steps.journal, lane=OTHER)
    flush(steps.app, everything=True)
    (dead,) = steps.until(lambda: batchq.dead(steps.app), "it is set aside")
    steps.until(lambda: len(steps.journal.batches.open()) == 1, "the other batch is over")
    assert len(told(caplog)) == 3
    assert f"a step on batch {dead.id}" in told(caplog)[0]
    (one,) = batchq.status(steps.app).own_errors
    assert one.times == 3


def test_a_task_that_is_to_go_on(
    steps: Contained, mistake: Mistake, caplog: pytest.LogCaptureFixture
) -> None:
    asked, other = capture(steps.journal), capture(steps.journal)

    def is_asked(task_id: str, *_: Any) -> bool:
        return task_id == asked.task_id

    mistake(Tasks, "message", is_asked)
    flush(steps.app, everything=True)
    steps.until_over()
    assert outcomes(steps.journal, other) != [None]
    assert batchq.status(steps.app).own_errors
    assert told(caplog)


def test_a_part_of_rescue(
    steps: Contained, mistake: Mistake, caplog: pytest.LogCaptureFixture
) -> None:
    mistake(Tallies, "take_sample", lambda **_: True)
    asked = capture(steps.journal)
    flush(steps.app, everything=True)
    steps.until_over()
    assert outcomes(steps.journal, asked) != [None]
    assert told(caplog)[0].startswith("the sample of this minute is skipped")


def test_what_is_somebody_elses_is_no_error_of_ours(
    steps: Contained, caplog: pytest.LogCaptureFixture
) -> None:
    steps.journal.store.redis.set(steps.journal.store.lane_keys(LANE)[0], "rubbish")
    steps.journal.store.redis.sadd(steps.journal.store.key("lanes"), LANE.name, b"\xff")
    with caplog.at_level(logging.ERROR):
        flush(steps.app, everything=True)
    assert told(caplog) == []
    assert batchq.status(steps.app).own_errors == ()
