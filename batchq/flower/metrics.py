"""Flower's ``/metrics``, with Batchq's among its own."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from typing import Any

from batchq.flower.seams import FlowerMetrics
from batchq.metrics import Collector, collector

__all__ = ["Metrics"]

logger = logging.getLogger("batchq.flower")


class Metrics(FlowerMetrics):
    """Flower's own page. The journal is read before it is made, so that its loop does not wait."""

    async def get(self) -> None:
        read = _collector(self.capp).refresh
        await asyncio.get_running_loop().run_in_executor(_pool, read)
        await super().get()


# Of its own: the others may all be taken while Redis is away, and a scrape has to say so.
_pool = ThreadPoolExecutor(1, thread_name_prefix="batchq-flower-metrics")


@cache
def _collector(app: Any) -> Collector:
    from prometheus_client import REGISTRY

    made = collector(app, patience=timedelta(0))
    try:
        REGISTRY.register(made)
    except ValueError:
        logger.warning(
            "Flower's registry has Batchq's metrics already; they stay as they are",
            extra={"action": "show"},
        )
    return made
