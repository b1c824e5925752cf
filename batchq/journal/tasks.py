"""Tasks, from outside of their runs: their messages, the dead, those that cannot be sent on."""

from __future__ import annotations

import json
from collections.abc import Sequence

from batchq.journal.bodies import Bodies
from batchq.journal.ends import Ends
from batchq.journal.replies import (
    milliseconds,
)
from batchq.journal.scripts import arguments
from batchq.journal.store import Store
from batchq.prompt import Lane
from batchq.prompt import custom_id as id_of

__all__ = ["Tasks"]


class Tasks:
    """Tasks, from outside of their runs."""

    def __init__(self, store: Store, bodies: Bodies) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key
        self._bodies = bodies
        self._ends = Ends(store, bodies)

    def body_of(self, task_id: str, number: int) -> bytes | None:
        """What a call of this task asks; None where that is not kept any more."""
        found: bytes | None = self._redis.hget(self._store.bodies_key(task_id), str(number))
        return self._bodies.read(found, f"call {number} of task {task_id}") if found else None

    def messages(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The messages that resume these tasks; None where there is nothing to resume.

        Raises JournalUnreadable where the message of one of them is.
        """
        pipe = self._redis.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.hmget(self._store.task_key(task_id), "next", "message")
        return [
            self.message(task_id, newer or kept or b"")
            for task_id, (newer, kept) in zip(task_ids, pipe.execute(), strict=True)
        ]

    def message(self, task_id: str, kept: bytes) -> bytes | None:
        """A message from how it is kept, None where there is none. Raises JournalUnreadable."""
        return self._store.read(kept, f"the message of task {task_id}") if kept else None

    def dead(self) -> list[tuple[str, int]]:
        """The tasks that killed their workers, newest first, each with when it failed by that."""
        found: list[tuple[bytes, float]] = self._redis.zrevrange(
            self._key("dead"), 0, -1, withscores=True
        )
        return [(member.decode(errors="replace"), int(score)) for member, score in found]

    def revive(self, task_id: str) -> bool:
        """Let a dead task be tried again; False where it is not dead."""
        keys = [self._store.task_key(task_id), self._key("dead"), self._key("resuming")]
        args = arguments(task=task_id, keep=self._store.keep_journal)
        return self._store.word("revive_task", keys, args) == "REVIVED"

    def drop(self, task_id: str) -> None:
        """Forget a task that Celery knows to be final: nobody waits for its answers.

        What stays for a while is the mark that refuses a second delivery.
        """
        keep = max(1, milliseconds(self._store.config.keep_done))
        self._ends.end("let_go", task_id, done="DROPPED", alive=False, keep=keep)

    def open_prompts(self, task_id: str) -> list[tuple[Lane, str]]:
        """The prompts of a task that have no outcome, by custom id, each with its lane."""
        fields: dict[bytes, bytes] = self._redis.hgetall(self._store.task_key(task_id))
        found: list[tuple[Lane, str]] = []
        for name, place in fields.items():
            number, _, what = name.decode(errors="replace").partition(":")
            if what == "place" and place != b"answered":
                record = json.loads(fields[f"{number}:record".encode()])
                found.append((Lane.from_name(record["lane"]), id_of(task_id, int(number))))
        return found

    def known(self, task_ids: Sequence[str]) -> list[str]:
        """Those of which the journal knows anything."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.exists(self._store.task_key(task_id))
        found: list[int] = pipe.execute()
        return [task_id for task_id, here in zip(task_ids, found, strict=True) if here]

    def count_failure(self, task_id: str, why: str) -> int:
        """One more failure to send a task on; returns how many there were in a row by now."""
        key = self._key("unsent", task_id)
        pipe = self._redis.pipeline()
        pipe.hincrby(key, "times", 1)
        pipe.hset(key, "why", why)
        pipe.pexpire(key, self._store.keep_journal)
        times: int = pipe.execute()[0]
        return times

    def forget_failures(self, *task_ids: str) -> None:
        if task_ids:
            self._redis.delete(*(self._key("unsent", task_id) for task_id in task_ids))

    def why_unsent(self, task_id: str) -> str:
        """With what a task could not be sent on when that was last tried; empty where it could."""
        found: bytes | None = self._redis.hget(self._key("unsent", task_id), "why")
        return "" if found is None else found.decode(errors="replace")

    def shelve(self, task_id: str) -> None:
        """Send a task on no more until somebody revives it: it is dead, with its answers."""
        pipe = self._redis.pipeline()
        pipe.zrem(self._key("resuming"), task_id)
        pipe.zadd(self._key("dead"), {task_id: self._store.now()})
        pipe.execute()
