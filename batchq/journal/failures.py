"""What fails time after time: how often in a row, and with what."""

from __future__ import annotations

from batchq.journal.books import Books

__all__ = ["Failures"]


class Failures(Books):
    """Tasks that cannot be sent on. Batches have their own count, in their record."""

    def count_failure(self, task_id: str, why: str) -> int:
        """One more failure to send a task on; returns how many there were in a row by now."""
        key = self.key("unsent", task_id)
        pipe = self._redis.pipeline()
        pipe.hincrby(key, "times", 1)
        pipe.hset(key, "why", why)
        pipe.pexpire(key, self._keep_journal)
        times: int = pipe.execute()[0]
        return times

    def forget_failures(self, *task_ids: str) -> None:
        if task_ids:
            self._redis.delete(*(self.key("unsent", task_id) for task_id in task_ids))

    def why_unsent(self, task_id: str) -> str:
        """With what a task could not be sent on when that was last tried; empty where it could."""
        found: bytes | None = self._redis.hget(self.key("unsent", task_id), "why")
        return "" if found is None else found.decode(errors="replace")

    def shelve(self, task_id: str) -> None:
        """Send a task on no more until somebody revives it: it is dead, with its answers."""
        pipe = self._redis.pipeline()
        pipe.zrem(self.key("resuming"), task_id)
        pipe.zadd(self.key("dead"), {task_id: self.now()})
        pipe.execute()
