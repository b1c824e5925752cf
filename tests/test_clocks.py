"""Workers whose clock is wrong: ages, leases and deadlines go by the clock of Redis alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchq.journal import journal_of
from tests.apps import outcomes
from tests.harness import ROOT, Stack
from tests.outcomes import World

pytestmark = pytest.mark.long

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)

needs_faketime = pytest.mark.skipif(
    LIBRARY is None, reason="libfaketime is not installed: apt-get install faketime"
)


def shifted(by: str) -> dict[str, str]:
    """The environment of a process whose wall clock is that far off."""
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME": by,
        # A clock that is set wrong does not change how long a second is.
        "DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(ROOT / "tests/faketime"),
    }


@needs_faketime
@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("-2h", "7,200 s behind"),
        ("+2h", "7,200 s ahead of"),
        ("+30d", "2,592,000 s ahead of"),
    ],
)
def test_a_wrong_clock_costs_nothing(stack: Stack, by: str, told: str) -> None:
    worker = stack.worker("tests.apps.outcomes", environment=shifted(by))
    stack.beat("tests.apps.outcomes", environment=shifted(by))
    world = World(stack)
    world.ask(3)
    assert world.errors() == []
    world.check(batches=1)
    assert [record.asked_again for record in journal_of(outcomes.app).batches.closed(5)] == [0]
    # Celery goes by it, so its owner is to know.
    assert f"the clock of this machine is {told}" in worker.output()
