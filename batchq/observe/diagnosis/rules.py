"""All rules, by what they are about, in the order in which one would look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from batchq.observe.diagnosis import (
    batches,
    lanes,
    memory,
    money,
    of_celery,
    of_settings,
    server,
    tasks,
    workers,
)
from batchq.observe.diagnosis.finding import LEVELS, Finding

if TYPE_CHECKING:
    from batchq.observe.diagnosis.seen import Seen

__all__ = ["SUBJECTS", "diagnose", "worst_first"]

SUBJECTS: Mapping[str, Callable[[Seen], Iterator[Finding]]] = {
    "redis": server.redis,
    "memory": memory.memory,
    "schedule": workers.schedule,
    "beat": workers.beat,
    "workers": workers.workers,
    "provider": workers.provider,
    "results": of_celery.results,
    "broker": of_celery.broker,
    "celery": of_celery.own_tasks,
    "live": of_celery.live,
    "times": of_settings.times,
    "storage": of_settings.storage,
    "secrets": of_settings.secrets,
    "lanes": lanes.lanes,
    "batches": batches.batches,
    "budget": money.budget,
    "tasks": tasks.tasks,
    "batchq": tasks.own_errors,
}


def diagnose(seen: Seen) -> list[Finding]:
    """All that is wrong with what was seen, by subject."""
    return [
        replace(finding, about=about) for about, rule in SUBJECTS.items() for finding in rule(seen)
    ]


def worst_first(found: Iterable[Finding]) -> list[Finding]:
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))
