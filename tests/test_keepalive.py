"""A task may wait for longer than Celery keeps results: what it belongs to completes all the same.

Without the keep-alive a chord hangs then, and nothing says so.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import TimeoutError  # noqa: A004

from batchq.journal import journal_of
from tests.apps.keepalive import app, join, plain, replaced, say
from tests.harness import Stack, wait_until

# Celery's own call, for a chord.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

APP = "tests.apps.keepalive"
EXPIRES = app.conf.result_expires

CANVASES: dict[str, Any] = {
    "a task": lambda: say.s("apples"),
    "a chord": lambda: chord([say.s("apples"), say.s("bears")], join.s()),
    "a chord with a member that has returned": lambda: chord(
        [plain.s("apples"), say.s("bears")], join.s()
    ),
    "a chord in a chord": lambda: chord(
        [chord([say.s("apples"), plain.s("bears")], join.s()), plain.s("caves")], join.s()
    ),
    "a chain in a chord": lambda: chord(
        [chain(say.s("apples"), plain.s(), plain.s()), plain.s("bears")], join.s()
    ),
    "a chain that ends in a group, in a chord": lambda: chord(
        [chain(plain.s("apples"), group(say.s(), plain.s())), plain.s("bears")], join.s()
    ),
    "a replaced task in a chord": lambda: chord([replaced.s("apples"), plain.s("bears")], join.s()),
    "a chain up to a chord": lambda: chain(
        plain.s("apples"), group(say.s(), plain.s()), join.s(), plain.s()
    ),
}


SAYS = {text: f"{text}, says the model" for text in ("apples", "bears", "APPLES")}

EXPECTED = {
    "a task": SAYS["apples"],
    "a chord": json.dumps([SAYS["apples"], SAYS["bears"]]),
    "a chord with a member that has returned": json.dumps(["APPLES", SAYS["bears"]]),
    "a chord in a chord": json.dumps([json.dumps([SAYS["apples"], "BEARS"]), "CAVES"]),
    "a chain in a chord": json.dumps([SAYS["apples"].upper(), "BEARS"]),
    "a chain that ends in a group, in a chord": json.dumps([[SAYS["APPLES"], "APPLES"], "BEARS"]),
    "a replaced task in a chord": json.dumps([SAYS["apples"], "BEARS"]),
    "a chain up to a chord": json.dumps([SAYS["APPLES"], "APPLES"]).upper(),
}


@pytest.fixture(scope="module")
def became(shared_stack: Stack) -> dict[str, Any]:
    """What became of every canvas after it had waited for twice the life of a result."""
    worker = shared_stack.worker(APP, wait=False)
    shared_stack.beat(APP)
    worker.wait_for_output(" ready.")
    shared_stack.emulator.fault("stuck_in_progress", at=0, times=None)
    journal = journal_of(app)
    began = journal.clock.now()
    results = {name: canvas().apply_async() for name, canvas in CANVASES.items()}
    found: dict[str, Any] = {}
    wait_until(
        lambda: journal.clock.now() - began > 2000 * EXPIRES,
        description="results have expired twice",
    )
    found["state"] = results["a task"].state
    shared_stack.emulator.lift("stuck_in_progress")
    for name, result in results.items():
        with contextlib.suppress(TimeoutError):
            found[name] = result.get(timeout=15 if name == "a task" else 4)
    results.clear()  # They would ask a server that is gone.
    return found


@pytest.mark.parametrize("name", CANVASES)
def test_it_completes(became: dict[str, Any], name: str) -> None:
    assert name in became, f"{name} hangs"
    assert became[name] == EXPECTED[name]


def test_a_waiting_task_stays_batched(became: dict[str, Any]) -> None:
    """Its state expired like any result, and AsyncResult said PENDING."""
    assert became["state"] == "BATCHED"
