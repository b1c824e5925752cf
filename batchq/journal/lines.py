"""The lines of batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from batchq.errors import JournalUnreadable, KeyMissing, StorageAway
from batchq.journal.answers import Answers
from batchq.journal.bodies import Bodies
from batchq.journal.records import (
    BatchRecord,
)
from batchq.journal.replies import (
    CHUNK,
    chunks,
    ids_in,
    parts_of,
    replies_of,
)
from batchq.journal.scripts import arguments
from batchq.journal.store import Store
from batchq.prompt import line

__all__ = ["Lines"]

_ROWS, _BODIES = 200, 8_000_000
"""Prompts, and bytes of their bodies, that are read from Redis at once."""


class Lines:
    """The lines of batches: which prompts are in them, and what their files say."""

    def __init__(self, store: Store, bodies: Bodies, answers: Answers) -> None:
        self._store = store
        self._redis = store.redis
        self._bodies = bodies
        self._answers = answers

    def ids(self, batch_id: str) -> Iterator[str]:
        """The custom ids of a batch, in the order of its lines."""
        start = 0
        while chunk := self._store.members(
            self._store.batch_keys(batch_id)[1], start, start + CHUNK - 1
        ):
            yield from ids_in(chunk)
            start += len(chunk)

    def some_ids(self, batch_id: str, start: int, count: int) -> list[str]:
        """Some custom ids of a batch, in the order of its lines, which count from 0."""
        if start < 0 or count < 1:
            return []
        members = self._store.members(self._store.batch_keys(batch_id)[1], start, start + count - 1)
        return ids_in(members)

    def left_in(self, batch_id: str) -> list[str]:
        """The prompts that are still in a batch, in the order of its lines."""
        return self.left_of(batch_id, self.ids(batch_id))

    def left_of(self, batch_id: str, custom_ids: Iterable[str]) -> list[str]:
        """Those of these prompts that are still in a batch."""
        here = f"batch:{batch_id}"
        left: list[str] = []
        for some in chunks(custom_ids):
            places = self._answers.places(some)
            left += [one for one, place in zip(some, places, strict=True) if place == here]
        return left

    def traces_in(self, batch_id: str, *, at_most: int) -> list[str]:
        """Where in which traces the first tasks of a batch are, each of them once."""
        custom_ids = list(islice(self.ids(batch_id), at_most))
        pipe = self._redis.pipeline(transaction=False)
        for task_id in dict.fromkeys(task_id for task_id, _ in map(parts_of, custom_ids)):
            pipe.hget(self._store.task_key(task_id), "trace")
        found = [reply for reply in replies_of(pipe) if isinstance(reply, bytes)]
        return [trace.decode(errors="replace") for trace in found]

    def of(
        self, batch: BatchRecord, tasks: Counter[str] | None = None
    ) -> Iterator[tuple[str, bytes]]:
        """The lines of a batch file, one at a time, in order. How many of them each task asks is
        added to ``tasks``, by the task's name.

        A prompt whose body is gone or damaged has an empty line. Raises KeyMissing, StorageAway.
        """
        for custom_ids in chunks(self.ids(batch.id), _ROWS):
            left = [(custom_id, *parts_of(custom_id)) for custom_id in custom_ids]
            while left:
                bodies, names = self._bodies_of(left)
                if tasks is not None:
                    for name, count in zip(names[::2], names[1::2], strict=True):
                        tasks[name.decode(errors="replace")] += count
                for (custom_id, *_), body in zip(left, bodies, strict=False):
                    yield custom_id, self._line(custom_id, batch.lane.endpoint, body)
                left = left[len(bodies) :]

    def _bodies_of(self, prompts: Sequence[tuple[str, str, int]]) -> Any:
        """The bodies of these prompts, or of the first of them, and the names of their tasks."""
        keys: list[str] = []
        for _, task_id, _ in prompts:
            keys += (self._store.bodies_key(task_id), self._store.task_key(task_id))
        numbers = [str(number) for *_, number in prompts]
        return self._store.run("lines", keys, arguments(most=_BODIES, numbers=numbers))

    def _line(self, custom_id: str, endpoint: str, body: Any) -> bytes:
        if not isinstance(body, bytes):
            return b""
        try:
            return line(custom_id, endpoint, self._bodies.read(body, f"the prompt {custom_id}"))
        except (KeyMissing, StorageAway):
            raise
        except JournalUnreadable:
            return b""

    def take_out(self, batch_id: str, custom_ids: Iterable[str]) -> None:
        """Take lines out of a batch that has not been uploaded."""
        self._redis.zrem(self._store.batch_keys(batch_id)[1], *custom_ids)
