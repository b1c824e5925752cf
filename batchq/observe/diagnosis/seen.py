"""What was seen of an installation: all that a rule may look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.journal import journal_of
from batchq.settings.config import settings

if TYPE_CHECKING:
    from batchq.journal import Sample
    from batchq.journal.facts import Facts
    from batchq.observe.reading import Reading
    from batchq.settings.record import Settings

__all__ = ["Look", "OwnTask", "Results", "Seen", "SetUp", "look"]

_LOOK_BACK = timedelta(hours=6)


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
class SetUp:
    """How an app is set up, as this process has it."""

    conf: Mapping[str, Any]
    """Celery's own settings."""
    schedule: Mapping[str, Any]
    """Beat's entries."""
    results: Results | None
    """None where there is no result backend."""
    broker: str
    """The kind of the broker: ``redis``, ``amqp`` and so on."""
    batched: tuple[OwnTask, ...] = ()
    tasks_error: str = ""
    """Why the app's tasks could not be imported."""
    not_asked: str = ""
    """Why workers take no remote control."""
    key_error: str = ""
    """What is wrong with the keys of the encryption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen. None, or empty, where nobody has looked: then nothing is found there."""

    settings: Settings
    reading: Reading | None = None
    facts: Facts | None = None
    samples: tuple[Sample, ...] = ()
    lost_at: int = 0
    """When it was noticed that the journal had been lost."""
    redis_error: str = ""
    storage_error: str = ""
    """What is wrong with the storage of large bodies, as this process has it."""
    set_up: SetUp | None = None
    consumers: Mapping[str, frozenset[str]] | None = None
    """The Celery queues that each worker takes from."""
    workers_error: str = ""
    providers: Mapping[str, Look] | None = None


def look(app: Any, reading: Reading) -> Seen:
    """See what else Redis can tell, beside a reading. Raises whatever redis-py does."""
    journal = journal_of(app)
    return Seen(
        settings=settings(app),
        reading=reading,
        facts=journal.store.facts(),
        samples=tuple(journal.tallies.samples(_LOOK_BACK)),
        lost_at=max(journal.adoption.epoch().former.values(), default=0),
    )
