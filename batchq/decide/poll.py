"""What follows for a batch from how it is at its provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from batchq.decide.room import NO_ROOM
from batchq.journal.webhooks import WEBHOOKS_COUNT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchq.events import Reason
    from batchq.provider.descriptions import ProviderBatch
    from batchq.settings.record import Settings

__all__ = [
    "Cancel",
    "Fetch",
    "News",
    "Wait",
    "after_poll",
    "files_missing",
    "is_over",
    "longest_wait",
    "pause_between_polls",
    "why_failed",
]

_ABANDON_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do; ask again after ``delay``."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Fetch:
    """It will not change any more: read what it brought."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """It has had all the time there is: take back what it has not answered."""

    delay: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What webhooks have said, and how long ago: of this ``batch``, that it is over; of any batch
    of its ``account``, when that was right last. None: nothing.
    """

    batch: timedelta | None = None
    account: timedelta | None = None


def after_poll(
    batch: ProviderBatch,
    *,
    age: timedelta,
    settings: Settings,
    cancelled: bool = False,
    news: News | None = None,
) -> Wait | Fetch | Cancel:
    """The next step for a batch that was submitted ``age`` ago; ``cancelled`` by an operator, it is
    to end now.
    """
    match batch.status:
        case "completed" | "failed" | "expired" | "cancelled":
            return Fetch()
        case "cancelling" if age < settings.batch_deadline + _ABANDON_AFTER:
            return Wait(pause_between_polls(age, settings, news))
        case _ if age >= settings.batch_deadline + _ABANDON_AFTER:
            # Neither finished nor cancelled: what it answered is read, the rest is asked again.
            return Fetch()
        case _ if age >= settings.batch_deadline:
            return Cancel(settings.poll_longest)
        case _ if cancelled and batch.status != "finalizing":
            return Cancel(pause_between_polls(age, settings))
        case _:
            # A word that nobody has seen before is not an end.
            return Wait(pause_between_polls(age, settings, news))


def is_over(batch: ProviderBatch) -> bool:
    """True where the provider will not change it any more."""
    return batch.status in _OVER


_OVER = frozenset({"completed", "failed", "expired", "cancelled"})


def pause_between_polls(age: timedelta, settings: Settings, news: News | None = None) -> timedelta:
    """Seconds for a young batch, minutes for an old one: a quarter of its age, within limits.

    While webhooks arrive, every batch of their account is polled at the longest pause only: that
    is what one costs that gets lost. A batch that is over by a webhook's word, and not yet by the
    provider's own, is polled as if it were new.
    """
    if news is not None and news.batch is not None:
        age = min(age, news.batch)
    elif news is not None and news.account is not None and news.account < WEBHOOKS_COUNT:
        return settings.poll_longest
    return min(max(age / 4, settings.poll_first), settings.poll_longest)


def files_missing(batch: ProviderBatch) -> bool:
    """True where a completed batch should have a file that it does not name yet."""
    if batch.status != "completed":
        return False
    unnamed_output = batch.completed > 0 and batch.output_file_id is None
    unnamed_errors = batch.failed > 0 and batch.error_file_id is None
    return unnamed_output or unnamed_errors or not (batch.output_file_id or batch.error_file_id)


def why_failed(status: str, codes: Sequence[str], *, paused: bool = False) -> Reason | None:
    """Why a batch failed that ended with this status of its provider; None where it did not.
    ``paused`` where its account was, for the same reason.
    """
    match status:
        case "completed":
            return None
        case "failed" if paused:
            return "paused"
        case "failed":
            return "no_room" if NO_ROOM in codes[:1] else "validation"
        case "expired" | "cancelled":
            return status
        case "unknown":
            return "lost"
        case _:
            return "deadline"


def longest_wait(settings: Settings) -> timedelta:
    """How long a question waits at most, from asked to answered, as far as the settings decide.

    In each of its batches: in the lane (for `flush_at` a day), for the create, for the provider,
    for the cancel, for the files. What nobody can set is not in it: a provider that has no room or
    is out of reach, an account that is paused, a Celery queue that is long.
    """
    in_lane = timedelta(days=1) if settings.flush_after is None else settings.flush_after
    in_batch = settings.create_grace + settings.batch_deadline + _ABANDON_AFTER
    return settings.max_attempts * (
        in_lane + in_batch + settings.poll_longest + settings.files_grace
    )
