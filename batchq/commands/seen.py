"""What was seen of a set-up, and what is said of it: the records of `check`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from batchq.journal import Sample
    from batchq.journal.facts import Facts
    from batchq.overview import Status
    from batchq.settings.record import Settings

__all__ = ["Check", "Level", "Look", "OwnTask", "Results", "Seen", "Told"]

Level = Literal["ok", "info", "warning", "problem"]

Told = tuple[Level, str, str]
"""How bad it is, what it is, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTask:
    """A batched task, as its options, the annotations and the app's settings have it together.

    Limits are seconds, 0 where there are none; ``said_by`` is the setting that an option is from.
    """

    name: str
    queue: str = ""
    soft_time_limit: float = 0
    time_limit: float = 0
    rate_limit: str = ""
    acks_late: bool = True
    reject_on_worker_lost: bool = True
    ignore_result: bool = False
    said_by: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: ``about`` what, what was seen, and what to ``do`` about it."""

    about: str
    level: Level
    what: str
    do: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Where Celery keeps results. Seconds; 0 where they have no end."""

    in_redis: bool
    expire: int
    chords_expire: int
    asks_every: float
    """How often Celery asks whether a chord is done, where results are not in Redis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What became of a call to a provider account: what went wrong, or how far ahead we are."""

    error: str = ""
    ahead: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of a set-up. None where nobody has looked."""

    settings: Settings
    conf: Mapping[str, Any]
    """Celery's own settings."""
    schedule: Mapping[str, Any]
    """Beat's entries."""
    results: Results | None
    broker: str
    """The kind of the broker: ``redis``, ``amqp`` and so on."""
    batched: tuple[OwnTask, ...] = ()
    tasks_error: str = ""
    """Why the app's tasks could not be imported."""
    not_asked: str = ""
    """Why workers take no remote control."""
    key_error: str = ""
    """What is wrong with the keys of the encryption."""
    redis_error: str = ""
    storage_error: str = ""
    """What is wrong with the storage of large bodies, as this process has it."""
    status: Status | None = None
    facts: Facts | None = None
    samples: tuple[Sample, ...] = ()
    stuck: tuple[str, ...] = ()
    """Lanes that ought to have gone."""
    spent: int = 0
    """Nano-dollars: what today cost so far, and may cost with what is under way."""
    consumers: Mapping[str, frozenset[str]] | None = None
    """The Celery queues that each worker takes from."""
    workers_error: str = ""
    providers: Mapping[str, Look] | None = None
