"""One scrape of a collector, and its numbers by name and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from batchq.metrics import collector
from batchq.prompt import Lane


@dataclass(frozen=True)
class Scrape:
    """What stood on a page: each sample by its name and its labels."""

    text: str
    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def of_text(cls, text: str) -> Scrape:
        samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        return cls(text, samples)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.samples}

    def value(self, name: str, lane: Lane | None = None, **labels: str) -> float:
        """The one sample with these labels; a name goes without its ``batchq_``."""
        wanted = {**_labels(lane), **labels}.items()
        return self.samples[f"batchq_{name}", frozenset(wanted)]

    def all(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """Every sample that has these labels, by the others."""
        wanted = frozenset(labels.items())
        return {
            known - wanted: value
            for (found, known), value in self.samples.items()
            if found == f"batchq_{name}" and wanted <= known
        }


def scrape(app: Any, **options: timedelta) -> Scrape:
    """A first scrape, as of a process that has just begun."""
    registry = CollectorRegistry()
    registry.register(collector(app, **options))
    return Scrape.of_text(generate_latest(registry).decode())


def _labels(lane: Lane | None) -> dict[str, str]:
    if lane is None:
        return {}
    return {
        "account": lane.account,
        "endpoint": lane.endpoint,
        "model": lane.model,
        "label": lane.label,
    }
