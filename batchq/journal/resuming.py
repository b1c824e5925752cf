"""Tasks that are on their way back."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice

import redis

from batchq.journal.records import (
    OnItsWay,
)
from batchq.journal.replies import (
    chunks,
    milliseconds,
    say_skipped,
)
from batchq.journal.scripts import arguments
from batchq.journal.store import Store

__all__ = ["OnTheirWay", "Resuming"]

_LOOKED_AT = 5_000
"""Tasks that one look is at: what is stuck behind them is met once these were sent again."""

_OUT_OF_ORDER = 5_000
"""Milliseconds by which messages may be taken in another order than that of their records."""


class Resuming:
    """Tasks on their way back: they have all of their answers, or were kept for later."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key

    def postpone(self, task_ids: Iterable[str]) -> None:
        """Resume these tasks later, as if their message had been sent just now."""
        now = self._store.now()
        for task_id in task_ids:
            self._redis.zadd(self._key("resuming"), {task_id: now}, xx=True)

    def look(self) -> OnTheirWay:
        """Look at the five thousand whose messages were sent first."""
        found: list[tuple[bytes, float]] = self._redis.zrange(
            self._key("resuming"), 0, _LOOKED_AT - 1, withscores=True
        )
        sent = [(member.decode(errors="replace"), int(score)) for member, score in found]
        tasks = [one for some in chunks(sent) for one in self._looked_at(some)]
        lease = milliseconds(self._store.config.lease)
        return OnTheirWay(at=self._store.now(), lease=lease, tasks=tuple(tasks))

    def _looked_at(self, sent: Sequence[tuple[str, int]]) -> Iterator[OnItsWay]:
        store = self._store
        keys = [(store.task_lease_key(task_id), store.task_key(task_id)) for task_id, _ in sent]
        looks = json.loads(store.run("look", list(chain(*keys)), ()))
        for (task_id, sent_at), looked in zip(sent, looks, strict=True):
            if isinstance(looked, str):
                error = redis.ResponseError(looked)
                say_skipped(store.task_key(task_id), error, task_id=task_id)
            else:
                yield OnItsWay(task_id, sent_at, *looked)

    def sent(self, task_ids: Sequence[str]) -> None:
        """Note that the messages of these tasks were sent just now."""
        for chunk in chunks(task_ids):
            keys = [self._key("resuming"), *map(self._store.task_key, chunk)]
            self._store.run("sent", keys, arguments(tasks=chunk))

    def let_go(self, task_ids: Iterable[str]) -> None:
        """Resume these tasks no more: there is no message to do it with. What they know stays."""
        for task_id in task_ids:
            self._redis.zrem(self._key("resuming"), task_id)

    def count(self) -> int:
        count: int = self._redis.zcard(self._key("resuming"))
        return count


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTheirWay:
    """One look at tasks that are on their way back, ``at`` that time of Redis's clock.

    ``lease`` is for how long a run, or whoever has brought the last answer, may be at it.
    """

    at: int
    lease: int
    tasks: tuple[OnItsWay, ...]

    @property
    def revoked(self) -> frozenset[str]:
        """Those that are revoked, and Celery may not know it yet."""
        return frozenset(one.task_id for one in self.tasks if one.revoked)

    def stuck(
        self, *, unclaimed_for: timedelta, overtaken_for: timedelta | None = None
    ) -> list[str]:
        """Tasks that have all their answers, or were kept for later, and that nobody resumes.

        Their message was never sent, or the run that took it died, or it was sent long ago and no
        run took it: a message may also wait in a long queue, so that time doubles with each one.
        ``overtaken_for`` is the time for one behind which a later one was taken: most likely it was
        lost with the Redis or the worker that had it in its hands.
        """
        taken = max((one.sent_at for one in self.tasks if one.held), default=0)
        soon = unclaimed_for if overtaken_for is None else min(overtaken_for, unclaimed_for)
        return [
            one.task_id
            for one in self.tasks
            # For a run that died a message is sent at once, and again as for all others.
            if not one.held
            and (one.died or self._is_late(one, _patience(one, taken, unclaimed_for, soon)))
        ]

    def _is_late(self, one: OnItsWay, patience: timedelta) -> bool:
        if one.sent_at <= 0:
            # Whoever brought its last answer sends it, if nothing happens to them.
            return self.at + one.sent_at > self.lease
        return self.at - one.sent_at > one.grown(patience)

    def unclaimed(
        self, *, longer_than: timedelta, at_most: int, but_for: Container[str] = ()
    ) -> list[str]:
        """The tasks whose message no run has taken for so long, or doubly so with each one sent."""
        late = (
            one.task_id
            for one in self.tasks
            if not one.held and one.sends and one.sent_at > 0 and self._is_late(one, longer_than)
        )
        return list(islice((task_id for task_id in late if task_id not in but_for), at_most))


def _patience(one: OnItsWay, taken: int, usual: timedelta, overtaken: timedelta) -> timedelta:
    return overtaken if taken - one.sent_at > _OUT_OF_ORDER else usual
