"""A tick, a status and a page look at everything once: each lane and each open batch is read once.

A tick of rescue read lanes and open batches two or three times, for its late batches, its sample,
its lookout and its budget; a reading of Flower's page asked for half of it again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from batchq.flow.rescue import rescue
from batchq.flower.watch import Shelf, read
from batchq.overview import status
from tests.apps.base import make_app
from tests.harness import Emulator, Server
from tests.journals import LANE, capture
from tests.test_flow import Steps

OF_A_LANE = 4
"""How many wait there, the first of them, its totals, whether the provider has room for it."""

OF_A_BATCH = 1


def lanes_and_batches(steps: Steps, labels: range) -> None:
    """For each label a lane with a prompt, and an open batch of it whose time has not come."""
    journal, limits = steps.journal, steps.journal.store.config.accounts["default"].limits
    for lane in (replace(LANE, label=str(label)) for label in labels):
        capture(journal, lane=lane)
        batch_id = uuid.uuid4().hex
        journal.lanes.seal(lane, batch_id, limits=limits, tokens=10**9)
        capture(journal, lane=lane)
        in_an_hour = journal.clock.now() + 3_600_000
        journal.store.redis.zadd(journal.store.key("batches"), {batch_id: in_an_hour})


def commands(server: Server, look: Callable[[Any], object], app: Any) -> int:
    """How many commands Redis is sent, but for what is looked at now and then only."""

    def sent() -> int:
        server.client.config_resetstat()
        look(app)
        return sum(one["calls"] for one in server.client.info("commandstats").values())

    return min(sent() for _ in range(3))


@pytest.mark.parametrize("look", [rescue, status, lambda app: read(app, Shelf())])
def test_each_lane_and_each_open_batch_is_read_once(
    server: Server, emulator: Emulator, look: Callable[[Any], object]
) -> None:
    app = make_app("once", batchq_flush_after=900, batchq_tick=5, batchq_budget=10)
    steps = Steps(server, emulator, app)
    lanes_and_batches(steps, range(3))
    few = commands(server, look, app)
    lanes_and_batches(steps, range(3, 13))
    assert commands(server, look, app) - few == 10 * (OF_A_LANE + OF_A_BATCH)
