"""Revokes of tasks that wait."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from batchq.journal.bodies import Bodies
from batchq.journal.ends import Ends
from batchq.journal.records import (
    Revocation,
    Walk,
)
from batchq.journal.replies import (
    CHUNK,
    milliseconds,
    opened,
    replies_of,
)
from batchq.journal.store import Store
from batchq.journal.waiting import Waiting

__all__ = ["Revocations"]


class Revocations:
    """Tasks that are revoked while they wait."""

    def __init__(self, store: Store, bodies: Bodies, waiting: Waiting) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key
        self._ends = Ends(store, bodies)
        self._waiting = waiting

    def stamped(self, stamps: Mapping[str, Iterable[str]]) -> list[str]:
        """The waiting and resuming tasks that have one of these stamps."""
        wanted = {name: set(values) for name, values in stamps.items()}
        found: list[str] = []
        walk = Walk(began_at=0, through="waiting")
        while walk.through:
            walk, task_ids = self._waiting.walk_on(walk, CHUNK)
            pipe = self._redis.pipeline(transaction=False)
            for task_id in task_ids:
                pipe.hget(self._store.task_key(task_id), "stamps")
            for task_id, raw in zip(task_ids, replies_of(pipe), strict=True):
                if isinstance(raw, bytes):
                    own = opened(
                        self._store.codec, raw, f"the stamps of task {task_id}", json.loads
                    )
                    if any(values & set(own.get(name, ())) for name, values in wanted.items()):
                        found.append(task_id)
        return found

    def revoke(
        self, task_id: str, *, token: str, message: bytes = b"", only_waiting: bool = False
    ) -> Revocation:
        """Revoke a task, as far as the journal goes; see revoke.lua for the words.

        Who gets REVOKED is to tell Celery, and to let go of it then. ``message`` is the task's own
        where its delivery is at hand. With ``only_waiting`` a task that is on its way back is
        revoked at its next delivery.
        """
        word, kept = self._ends.end(
            "revoke",
            task_id,
            *([self._store.write(message)] if message else []),
            token=token,
            lease=milliseconds(self._store.config.lease),
            only_waiting=only_waiting,
            keep=self._store.keep_journal,
        )
        found = self._store.read(kept, f"the message of task {task_id}") if kept else b""
        return Revocation(word=word, message=found)

    def let_go(self, task_id: str, *, token: str, alive: bool = True) -> str:
        """Celery knows that a task is revoked: nobody waits for its answers. Not where a run of it
        is alive, which may be unless Celery has killed it; see let_go.lua for the words.
        """
        keep = self._store.keep_journal
        word, _ = self._ends.end(
            "let_go", task_id, token=token, done="REVOKED", alive=alive, keep=keep
        )
        return word
