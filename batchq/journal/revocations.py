"""Revokes of tasks that wait."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from batchq.journal.bodies import Bodies
from batchq.journal.records import (
    Revocation,
    RevokeMode,
    Walk,
)
from batchq.journal.replies import (
    CHUNK,
    milliseconds,
    opened,
    prompts_named,
    prompts_out,
    replies_of,
)
from batchq.journal.scripts import arguments
from batchq.journal.store import Store
from batchq.journal.waiting import Waiting
from batchq.prompt import custom_id as id_of

__all__ = ["Revocations"]


class Revocations:
    """Tasks that are revoked while they wait."""

    def __init__(self, store: Store, bodies: Bodies, waiting: Waiting) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key
        self._bodies = bodies
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
        self, task_id: str, *, token: str, mode: RevokeMode = "now", message: bytes = b""
    ) -> Revocation:
        """Revoke a task, as far as the journal goes; see revoke.lua for modes and words.

        Who gets REVOKED is to tell Celery, and to say so with the mode ``said``. ``message`` is the
        task's own where its delivery is at hand.
        """
        while True:
            fields: dict[bytes, bytes] = self._redis.hgetall(self._store.task_key(task_id))
            keys = [
                self._store.task_key(task_id),
                self._store.bodies_key(task_id),
                self._store.task_lease_key(task_id),
            ]
            keys += [self._key("waiting"), self._key("resuming")]
            out = dict(prompts_out(fields))
            keys += [key for lane in out.values() for key in self._store.lane_keys(lane)]
            args = arguments(
                *([self._store.write(message)] if message else []),
                token=token,
                lease=milliseconds(self._store.config.lease),
                task=task_id,
                mode=mode,
                keep=self._store.keep_journal,
                captured_by=fields.get(b"captured_by", b"").decode(),
                prompts=prompts_named(id_of(task_id, number) for number in out),
            )
            outside = self._bodies.outside(task_id)
            word, *kept = (part for part in self._store.run("revoke", keys, args))
            if word != b"CHANGED":
                break
        if word == b"REVOKED":
            self._bodies.delete(outside)
        what = f"the message of task {task_id}"
        found = self._store.read(kept[0], what) if kept and kept[0] else b""
        return Revocation(word=word.decode(), message=found)

    def revoked(self, task_ids: Sequence[str]) -> set[str]:
        """Of tasks that nobody moves, those that are revoked, and Celery may not know it yet."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.hmget(self._store.task_key(task_id), "done", "message", "revoked")
        return {
            task_id
            for task_id, (done, message, flag) in zip(task_ids, pipe.execute(), strict=True)
            if flag or (done == b"REVOKED" and message)
        }
