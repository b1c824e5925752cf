"""What hangs on a task that waits: its chords, its stamps, its revoke."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from batchq.journal.records import (
    Revocation,
    RevokeMode,
    Walk,
)
from batchq.journal.replies import (
    CHUNK,
    milliseconds,
    opened,
    prompts_out,
    replies_of,
)
from batchq.journal.returns import Returns
from batchq.journal.runs import Runs
from batchq.prompt import custom_id as id_of

__all__ = ["Ties"]


class Ties(Runs, Returns):
    """The groups and stamps of tasks that wait, and their revokes."""

    def tie(
        self, task_id: str, *, token: str, groups: Sequence[str], stamps: Mapping[str, Any]
    ) -> str:
        """Write down which groups wait for a task, and its stamps, to find them without reading
        its message.
        """
        fields: dict[str, Any] = {}
        if groups:
            fields["groups"] = json.dumps(groups)
        if stamps:
            fields["stamps"] = self._codec.seal(json.dumps(stamps).encode())
        return self._note(task_id, token, fields)

    def groups(self, task_ids: Sequence[str]) -> set[str]:
        """The groups that wait for these tasks."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.hget(self._task(task_id), "groups")
        replies = replies_of(pipe)
        found = [json.loads(reply) for reply in replies if isinstance(reply, bytes)]
        return {str(group) for groups in found for group in groups}

    def kept_now(self, groups: Sequence[str], *, for_: timedelta) -> list[str]:
        """Those of these groups that nobody has kept for that long; the caller does now."""
        pipe = self._redis.pipeline(transaction=False)
        for group in groups:
            pipe.set(self.key("kept", group), 1, nx=True, px=max(1, milliseconds(for_)))
        first = pipe.execute()
        return [group for group, was_set in zip(groups, first, strict=True) if was_set]

    def stamped(self, stamps: Mapping[str, Iterable[str]]) -> list[str]:
        """The waiting and resuming tasks that have one of these stamps."""
        wanted = {name: set(values) for name, values in stamps.items()}
        found: list[str] = []
        walk = Walk(began_at=0, through="waiting")
        while walk.through:
            walk, task_ids = self.walk_on(walk, CHUNK)
            pipe = self._redis.pipeline(transaction=False)
            for task_id in task_ids:
                pipe.hget(self._task(task_id), "stamps")
            for task_id, raw in zip(task_ids, replies_of(pipe), strict=True):
                if isinstance(raw, bytes):
                    own = opened(self._codec, raw, f"the stamps of task {task_id}", json.loads)
                    if any(values & set(own.get(name, ())) for name, values in wanted.items()):
                        found.append(task_id)
        return found

    def walk(self) -> Walk:
        """The walk under way, or the one that was over last."""
        began_at, through, cursor = self._redis.hmget(
            self.key("walk"), "began_at", "through", "cursor"
        )
        if began_at is None:
            return Walk(began_at=0)
        return Walk(began_at=int(began_at), through=through.decode(), cursor=int(cursor))

    def walk_on(self, walk: Walk, count: int) -> tuple[Walk, list[str]]:
        """Go on with a walk; who waits from its first step to its last is met on it."""
        cursor, members = self._redis.zscan(self.key(walk.through), walk.cursor, count=count)
        through = walk.through
        if cursor == 0:
            through = "resuming" if through == "waiting" else ""
        task_ids = [member.decode(errors="replace") for member, _ in members]
        return Walk(began_at=walk.began_at, through=through, cursor=cursor), task_ids

    def note_walk(self, walk: Walk) -> None:
        fields = {"began_at": walk.began_at, "through": walk.through, "cursor": walk.cursor}
        self._redis.hset(self.key("walk"), mapping=fields)
        self._redis.pexpire(self.key("walk"), self._keep_journal)

    def revoke(
        self, task_id: str, *, token: str, mode: RevokeMode = "now", message: bytes = b""
    ) -> Revocation:
        """Revoke a task, as far as the journal goes; see revoke.lua for modes and words.

        Who gets REVOKED is to tell Celery, and to say so with the mode ``said``. ``message`` is the
        task's own where its delivery is at hand.
        """
        while True:
            fields: dict[bytes, bytes] = self._redis.hgetall(self._task(task_id))
            keys = [self._task(task_id), self._bodies(task_id), self._task_lease(task_id)]
            keys += [self.key("waiting"), self.key("resuming")]
            args: list[Any] = [token, milliseconds(self._config.lease), task_id, mode]
            args += [self._keep_journal, fields.get(b"captured_by", b"")]
            args += [self._write(message) if message else b""]
            for number, lane in prompts_out(fields):
                keys += self._lane(lane)
                args += [number, id_of(task_id, number)]
            outside = self._outside_of(task_id)
            word, *kept = (part for part in self._run("revoke", keys, args))
            if word != b"CHANGED":
                break
        if word == b"REVOKED":
            self._delete(outside)
        what = f"the message of task {task_id}"
        found = self._read(kept[0], what) if kept and kept[0] else b""
        return Revocation(word=word.decode(), message=found)

    def revoked(self, task_ids: Sequence[str]) -> set[str]:
        """Of tasks that nobody moves, those that are revoked, and Celery may not know it yet."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.hmget(self._task(task_id), "done", "message", "revoked")
        return {
            task_id
            for task_id, (done, message, flag) in zip(task_ids, pipe.execute(), strict=True)
            if flag or (done == b"REVOKED" and message)
        }

    def known(self, task_ids: Sequence[str]) -> list[str]:
        """Those of which the journal knows anything."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.exists(self._task(task_id))
        found: list[int] = pipe.execute()
        return [task_id for task_id, here in zip(task_ids, found, strict=True) if here]
