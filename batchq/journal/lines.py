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
    is_id,
    parts_of,
    replies_of,
)
from batchq.journal.store import Store
from batchq.prompt import line

__all__ = ["Lines"]

_BODIES = 8_000_000
"""Bytes of prompt bodies that are read from Redis at once."""


class Lines:
    """The lines of batches: which prompts are in them, and what their files say."""

    def __init__(self, store: Store, bodies: Bodies, answers: Answers) -> None:
        self._store = store
        self._redis = store.redis
        self._bodies = bodies
        self._answers = answers

    def task_names(self, custom_ids: Iterable[str]) -> dict[str, int]:
        """How many of these prompts each task asked, by the task's name."""
        counts: Counter[str] = Counter()
        for some in chunks(custom_ids):
            pipe = self._redis.pipeline(transaction=False)
            for task_id, _ in map(parts_of, some):
                pipe.hget(self._store.task_key(task_id), "name")
            names = (reply for reply in replies_of(pipe) if isinstance(reply, bytes))
            counts.update(name.decode(errors="replace") for name in names)
        return dict(counts)

    def ids(self, batch_id: str) -> Iterator[str]:
        """The custom ids of a batch, in the order of its lines."""
        start = 0
        while chunk := self._store.members(
            self._store.batch_keys(batch_id)[1], start, start + CHUNK - 1
        ):
            yield from (member.decode() for member in chunk if is_id(member))
            start += len(chunk)

    def some_ids(self, batch_id: str, start: int, count: int) -> list[str]:
        """Some custom ids of a batch, in the order of its lines, which count from 0."""
        if start < 0 or count < 1:
            return []
        members = self._store.members(self._store.batch_keys(batch_id)[1], start, start + count - 1)
        return [member.decode() for member in members if is_id(member)]

    def left_in(self, batch_id: str) -> list[str]:
        """The prompts that are still in a batch, in the order of its lines."""
        here = f"batch:{batch_id}"
        left: list[str] = []
        for custom_ids in chunks(self.ids(batch_id)):
            places = self._answers.places(custom_ids)
            left += [c for c, place in zip(custom_ids, places, strict=True) if place == here]
        return left

    def traces_in(self, batch_id: str, *, at_most: int) -> list[str]:
        """Where in which traces the first tasks of a batch are, each of them once."""
        custom_ids = list(islice(self.ids(batch_id), at_most))
        pipe = self._redis.pipeline(transaction=False)
        for task_id in dict.fromkeys(task_id for task_id, _ in map(parts_of, custom_ids)):
            pipe.hget(self._store.task_key(task_id), "trace")
        found = [reply for reply in replies_of(pipe) if isinstance(reply, bytes)]
        return [trace.decode(errors="replace") for trace in found]

    def prompt_at(self, batch_id: str, line_number: int) -> str | None:
        """The custom id on a line of a batch file; lines count from 1."""
        if line_number < 1:
            return None
        return next(islice(self.ids(batch_id), line_number - 1, None), None)

    def of(self, batch: BatchRecord) -> Iterator[tuple[str, bytes]]:
        """The lines of a batch file, one at a time, in order.

        A prompt whose body is gone or damaged has an empty line. Raises KeyMissing, StorageAway.
        """
        for custom_ids in chunks(self.ids(batch.id)):
            for some in self._portions(custom_ids):
                pipe = self._redis.pipeline(transaction=False)
                for task_id, number in map(parts_of, some):
                    pipe.hget(self._store.bodies_key(task_id), str(number))
                for custom_id, body in zip(some, replies_of(pipe), strict=True):
                    yield custom_id, self._line(custom_id, batch.lane.endpoint, body)

    def _portions(self, custom_ids: Sequence[str]) -> Iterator[list[str]]:
        """Some prompts, a few megabytes of bodies at a time, whatever their size."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id, number in map(parts_of, custom_ids):
            pipe.hstrlen(self._store.bodies_key(task_id), str(number))
        some: list[str] = []
        left = _BODIES
        for custom_id, size in zip(custom_ids, replies_of(pipe), strict=True):
            left -= size if isinstance(size, int) else 0
            if some and left < 0:
                yield some
                some, left = [], _BODIES - size
            some.append(custom_id)
        yield some

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
