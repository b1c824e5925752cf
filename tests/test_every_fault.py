"""No fault of the emulator is without a journey that meets it."""

from __future__ import annotations

import pytest

from batchq.emulator.catalogue import ALWAYS_ON, CATALOGUE
from tests.harness import ROOT

JOURNEYS = (
    "test_crashes",
    "test_flow",
    "test_outcomes",
    "test_outcomes_of_batches",
    "test_recovery",
    "test_webhook_journey",
    "cases/test_paused_accounts",
    "cases/test_refused_accounts",
)
BATCHES = sorted(
    name for name in CATALOGUE if not name.startswith("live_") and name not in ALWAYS_ON
)


@pytest.mark.parametrize("fault", BATCHES)
def test_every_fault_has_a_journey(fault: str) -> None:
    sources = [(ROOT / "tests" / f"{name}.py").read_text() for name in JOURNEYS]
    assert any(f'"{fault}"' in source for source in sources)
