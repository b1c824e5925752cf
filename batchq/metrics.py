"""Metrics: what Prometheus asks for, on any registry of its client; see docs/metrics.md.

    prometheus_client.REGISTRY.register(batchq.metrics.collector(app))

The numbers are the journal's, the same whichever process is asked: one target of Prometheus is
enough for an app, and two that are added up count everything twice.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.common.own_errors import is_ours
from batchq.journal import TURNAROUNDS, hurried
from batchq.observe.catalogue import METRICS
from batchq.observe.measures import about, measure
from batchq.observe.own_errors import tell_own_error
from batchq.observe.reading import read
from batchq.observe.sheet import Sheet, Shown

if TYPE_CHECKING:
    from celery import Celery
    from prometheus_client import Metric

__all__ = ["Collector", "collector"]

logger = logging.getLogger("batchq.metrics")

PATIENCE = timedelta(seconds=3)
"""How long a scrape waits for Redis; the journal's client gives up before."""

_HURRY = timedelta(seconds=2)
"""How long one reply of Redis is waited for."""

_FRESH = 1.0
"""Seconds for which one reading serves; longer where it took long, so that not even a fifth of the
time is spent reading."""
_OLD = 300.0
"""Seconds after which a reading is not shown any more."""
_HANGS = 30.0
"""Seconds after which a reading under way counts as one that failed."""


def collector(app: Celery[Any], *, patience: timedelta = PATIENCE) -> Collector:
    """What `register` of a registry of prometheus_client takes: the metrics of an app.

    A scrape reads the journal, and waits at most ``patience`` for it; scrapes within a second share
    one reading. Where Redis is away ``batchq_up`` is 0, and nothing is raised. Nothing is read
    before the first scrape.

    With ``patience`` 0 a scrape does not wait: it shows the last reading and begins another. An
    event loop awaits `refresh` on a thread first, and has that one.
    """
    return Collector(app, patience)


class Collector:
    """Collects on each scrape. It may be made before a fork."""

    def __init__(self, app: Celery[Any], patience: timedelta) -> None:
        import prometheus_client  # noqa: F401  # pyright: ignore[reportUnusedImport] missing, it is said here

        self._app = app
        self._patience = patience.total_seconds()
        self._reader = _Reader(app)

    def describe(self) -> list[Metric]:
        """All names, so that registering reads nothing and two of a kind are refused."""
        return list(_families(Sheet(), empty=True))

    def refresh(self, patience: timedelta = PATIENCE) -> None:
        """Read the journal, as a scrape does that waits so long; the next one shows it."""
        self._latest(patience.total_seconds())

    def collect(self) -> Iterator[Metric]:
        found = self._latest(self._patience)
        if found is None:
            # Who does not wait may come before the first reading has ended.
            return _families(_away() if self._patience else about())
        return _families(found.sheet or _away())

    def _latest(self, patience: float) -> _Found | None:
        if self._reader.pid != os.getpid():
            # Threads do not come along when a process forks, nor do those who held a lock.
            self._reader = _Reader(self._app)
        return self._reader.latest(patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The end of one reading; ``sheet`` is None where it failed, for what is in ``why``."""

    sheet: Sheet | None
    why: str = ""
    ended: float
    took: float

    @property
    def is_fresh(self) -> bool:
        # One that failed has cost Redis nothing.
        lasts = _FRESH if self.sheet is None else max(_FRESH, 4 * self.took)
        return time.monotonic() - self.ended < lasts


class _Reader:
    """Reads the journal on a thread of its own, so that nobody waits longer than they want to."""

    def __init__(self, app: Celery[Any]) -> None:
        self.pid = os.getpid()
        self._app = app
        self._ended = threading.Condition()
        self._began: float | None = None
        self._count = 0
        self._last: _Found | None = None
        self._shown = Shown()

    def latest(self, patience: float) -> _Found | None:
        """What the last reading found; a new one is waited for. None where none ended lately."""
        with self._ended:
            if self._last is None or not self._last.is_fresh:
                seen = self._count
                self._begin()
                self._ended.wait_for(lambda: self._count > seen, patience)
            now = time.monotonic()
            if self._began is not None and now - self._began > _HANGS:
                return _Found(sheet=None, ended=now, took=0)
            if self._last is not None and now - self._last.ended > _OLD:
                return None
            return self._last

    def _begin(self) -> None:
        if self._began is None:
            self._began = time.monotonic()
            threading.Thread(target=self._run, name="batchq-metrics", daemon=True).start()

    def _run(self) -> None:
        found = self._read()
        with self._ended:
            self._report(found)
            self._last, self._began = found, None
            self._count += 1
            self._ended.notify_all()

    def _read(self) -> _Found:
        began = time.monotonic()
        sheet: Sheet | None = None
        why = ""
        try:
            with hurried(_HURRY):
                reading = read(self._app)
            sheet = measure(reading, self._shown)
        except Exception as error:  # noqa: BLE001 whatever it is, a scrape is answered
            why = type(error).__name__
            if is_ours(error):
                tell_own_error(self._app, "a reading for metrics", error)
        ended = time.monotonic()
        return _Found(sheet=sheet, why=why, ended=ended, took=ended - began)

    def _report(self, found: _Found) -> None:
        """Say once that it fails, and once that it does not any more."""
        failed = self._last is not None and self._last.sheet is None
        if found.sheet is None and not failed:
            logger.warning(
                "the journal cannot be read for metrics (%s)",
                found.why,
                extra={"action": "measure"},
            )
        elif found.sheet is not None and failed:
            logger.warning("the journal can be read for metrics again", extra={"action": "measure"})


def _away() -> Sheet:
    sheet = about()
    sheet.add("up", 0)
    return sheet


def _families(sheet: Sheet, *, empty: bool = False) -> Iterator[Metric]:
    """The values as the client of Prometheus takes them; with ``empty`` also names without one."""
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    for name, metric in METRICS.items():
        family: Metric
        if metric.kind == "histogram":
            family = classes = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, row in sheet.histograms.get(name, {}).items():
                classes.add_metric(labels, _buckets(row[:-1]), row[-1])
        else:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = numbers = kind(metric.name, metric.help, labels=metric.labels)
            for labels, value in sheet.values.get(name, {}).items():
                numbers.add_metric(labels, value)
        if empty or family.samples:
            yield family


def _buckets(counts: list[float]) -> list[tuple[str, float]]:
    """Up to each end, how many there are in all."""
    ends = [*(str(float(end)) for end in TURNAROUNDS), "+Inf"]
    return list(zip(ends, itertools.accumulate(counts), strict=True))
