"""Tasks that are on their way back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from batchq.journal.records import (
    OnItsWay,
)
from batchq.journal.replies import (
    chunks,
    count_of,
    milliseconds,
    replies_of,
    say_skipped,
)
from batchq.journal.scripts import arguments
from batchq.journal.store import Store

__all__ = ["Resuming"]


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

    def stuck(
        self, *, unclaimed_for: timedelta, overtaken_for: timedelta | None = None
    ) -> list[str]:
        """Tasks that have all their answers, or were kept for later, and that nobody resumes.

        Their message was never sent, or the run that took it died, or it was sent long ago and no
        run took it: a message may also wait in a long queue, so that time doubles with each one.
        ``overtaken_for`` is the time for one behind which a later one was taken: most likely it was
        lost with the Redis or the worker that had it in its hands.
        """
        now, tasks = self._store.now(), self._on_their_way()
        taken = max((one.sent_at for one in tasks if one.held), default=0)
        stuck: list[str] = []
        for one in tasks:
            # For a run that died a message is sent at once, and again as for all others.
            died = one.run is not None and one.run != one.sent_for
            patience = unclaimed_for
            if overtaken_for is not None and taken - one.sent_at > _OUT_OF_ORDER:
                patience = min(overtaken_for, unclaimed_for)
            late = now - one.sent_at > one.grown(patience)
            if one.sent_at <= 0:
                # Whoever brought its last answer sends it, if nothing happens to them.
                late = now + one.sent_at > milliseconds(self._store.config.lease)
            if not one.held and (died or late):
                stuck.append(one.task_id)
        return stuck

    def unclaimed(self, *, longer_than: timedelta, at_most: int) -> list[str]:
        """The tasks whose message no run has taken for so long, or doubly so with each one sent."""
        now = self._store.now()
        return [
            one.task_id
            for one in self._on_their_way()
            if not one.held
            and one.sends
            and one.sent_at > 0
            and now - one.sent_at > one.grown(longer_than)
        ][:at_most]

    def _on_their_way(self) -> list[OnItsWay]:
        found: list[tuple[bytes, float]] = self._redis.zrange(
            self._key("resuming"), 0, 9_999, withscores=True
        )
        sent = [(member.decode(errors="replace"), int(score)) for member, score in found]
        pipe = self._redis.pipeline(transaction=False)
        for task_id, _ in sent:
            pipe.exists(self._store.task_lease_key(task_id))
            pipe.hmget(self._store.task_key(task_id), "run", "sends", "sent_for")
        replies = replies_of(pipe)
        tasks: list[OnItsWay] = []
        for (task_id, sent_at), held, known in zip(sent, replies[::2], replies[1::2], strict=True):
            if isinstance(known, Exception):
                say_skipped(self._store.task_key(task_id), known, task_id=task_id)
                continue
            run, sends, sent_for = known
            one = OnItsWay(task_id, sent_at, bool(held), run, count_of(sends), sent_for)
            tasks.append(one)
        return tasks

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
