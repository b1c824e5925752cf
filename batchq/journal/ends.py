"""Ends of tasks from outside of their runs, with all that they have asked."""

from __future__ import annotations

from typing import Any

from batchq.journal.bodies import Bodies
from batchq.journal.replies import prompts_named, prompts_out
from batchq.journal.scripts import arguments
from batchq.journal.store import Store
from batchq.prompt import custom_id as id_of

__all__ = ["Ends"]


class Ends:
    """What a script needs to end a task: which of its prompts are out, and in which lanes."""

    def __init__(self, store: Store, bodies: Bodies) -> None:
        self._store = store
        self._bodies = bodies

    def end(self, script: str, task_id: str, *plain: bytes, **named: Any) -> tuple[str, bytes]:
        """The word of the script, and what comes with it. Where the task goes on between the look
        at its prompts and the script, it is looked at again.
        """
        while True:
            keys, known = self._look(task_id)
            outside = self._bodies.outside(task_id)
            args = arguments(*plain, task=task_id, **known, **named)
            word, *rest = self._store.run(script, keys, args)
            if word == b"CHANGED":
                continue
            if word in {b"REVOKED", b"DROPPED"}:
                self._bodies.delete(outside)
            return word.decode(), rest[0] if rest else b""

    def _look(self, task_id: str) -> tuple[list[str], dict[str, Any]]:
        task = self._store.task_key(task_id)
        fields: dict[bytes, bytes] = self._store.redis.hgetall(task)
        out = dict(prompts_out(fields))
        keys = [task, self._store.bodies_key(task_id), self._store.task_lease_key(task_id)]
        keys += [self._store.key("waiting"), self._store.key("resuming")]
        keys += [key for lane in out.values() for key in self._store.lane_keys(lane)]
        return keys, {
            "captured_by": fields.get(b"captured_by", b"").decode(),
            "prompts": prompts_named(id_of(task_id, number) for number in out),
        }
