"""Tasks whose prompts are out, and the walk past them."""

from __future__ import annotations

from datetime import timedelta

from batchq.journal.records import (
    Walk,
)
from batchq.journal.replies import (
    CHUNK,
    milliseconds,
)
from batchq.journal.store import Store

__all__ = ["Waiting"]


class Waiting:
    """Tasks whose prompts are out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key

    def count(self) -> int:
        count: int = self._redis.zcard(self._key("waiting"))
        return count

    def overdue(self, longest: timedelta) -> int:
        """How many tasks wait for answers to what they asked longer ago than that."""
        until = self._store.now() - milliseconds(longest)
        count: int = self._redis.zcount(self._key("waiting"), "-inf", until)
        return count

    def nearly_forgotten(self) -> list[str]:
        """Tasks that still wait, and whose journal has less than a tenth of its time left."""
        tenth = self._store.keep_journal // 10
        until = self._store.now() - 9 * tenth
        found: list[bytes] = self._redis.zrangebyscore(self._key("waiting"), "-inf", until)
        pipe = self._redis.pipeline(transaction=False)
        for task_id in found:
            pipe.pttl(self._store.task_key(task_id.decode(errors="replace")))
        left: list[int] = pipe.execute()
        pairs = zip(found, left, strict=True)
        return [task_id.decode(errors="replace") for task_id, ends in pairs if 0 <= ends < tenth]

    def forget_expired(self) -> None:
        """Take tasks whose journal has run out from those that wait: no answer will do it. And
        from the dead, for there is nothing left to retry.
        """
        until = self._store.now() - self._store.keep_journal
        for key in (self._key("waiting"), self._key("dead")):
            oldest: list[bytes] = self._redis.zrangebyscore(key, "-inf", until, start=0, num=CHUNK)
            for task_id in oldest:
                if not self._redis.exists(self._store.task_key(task_id.decode(errors="replace"))):
                    self._redis.zrem(key, task_id)

    def walk(self) -> Walk:
        """The walk under way, or the one that was over last."""
        began_at, through, cursor = self._redis.hmget(
            self._key("walk"), "began_at", "through", "cursor"
        )
        if began_at is None:
            return Walk(began_at=0)
        return Walk(began_at=int(began_at), through=through.decode(), cursor=int(cursor))

    def walk_on(self, walk: Walk, count: int) -> tuple[Walk, list[str]]:
        """Go on with a walk; who waits from its first step to its last is met on it."""
        cursor, members = self._redis.zscan(self._key(walk.through), walk.cursor, count=count)
        through = walk.through
        if cursor == 0:
            through = "resuming" if through == "waiting" else ""
        task_ids = [member.decode(errors="replace") for member, _ in members]
        return Walk(began_at=walk.began_at, through=through, cursor=cursor), task_ids

    def note_walk(self, walk: Walk) -> None:
        fields = {"began_at": walk.began_at, "through": walk.through, "cursor": walk.cursor}
        self._redis.hset(self._key("walk"), mapping=fields)
        self._redis.pexpire(self._key("walk"), self._store.keep_journal)
