"""Answers, and where each prompt is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from batchq.errors import JournalUnreadable
from batchq.journal.records import (
    Receipt,
)
from batchq.journal.replies import (
    parts_of,
    replies_of,
    say_skipped,
)
from batchq.journal.scripts import Call
from batchq.journal.store import Store
from batchq.prompt import Lane, Outcome

__all__ = ["Answers"]


class Answers:
    """Outcomes of prompts, and where each prompt is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key

    def add(
        self,
        lane: Lane,
        outcomes: Sequence[tuple[str, Outcome]],
        receipts: Mapping[str, Receipt] | None = None,
        *,
        batch: str = "",
    ) -> list[str]:
        """Give prompts (by custom id) their outcomes; returns a word for each, see answer.lua.

        An outcome from a batch is only for a prompt that was asked in that batch.
        """
        return [word for word, _ in self.give(lane, outcomes, receipts, batch=batch)]

    def give(
        self,
        lane: Lane,
        outcomes: Sequence[tuple[str, Outcome]],
        receipts: Mapping[str, Receipt] | None = None,
        *,
        batch: str = "",
    ) -> list[tuple[str, bytes]]:
        """The same; and with each READY the message of its task as it is kept, empty where there is
        none.
        """
        now, known = self._store.now() if outcomes else 0, receipts or {}
        answers = [
            (
                custom_id,
                self._store.codec.seal(outcome.to_bytes()),
                (known.get(custom_id) or Receipt.of(outcome)).to_json(answered_at=now),
            )
            for custom_id, outcome in outcomes
        ]
        slices = list(_slices(answers))
        calls = [self._call(lane, some, batch) for some in slices]
        given: list[tuple[str, bytes]] = []
        for reply in self._store.scripts.run_all("answer", calls):
            given += _read(reply)
        for (custom_id, _), (word, _) in zip(outcomes, given, strict=True):
            if word == "BROKEN":
                error = JournalUnreadable("its task's record")
                say_skipped(f"the answer to {custom_id}", error, prompt=custom_id)
        return given

    def _call(self, lane: Lane, answers: Iterable[_Answer], batch: str) -> Call:
        keys = [self._key("waiting"), self._key("resuming"), self._key("counters")]
        keys += self._store.lane_keys(lane)
        args: list[Any] = [self._store.keep_journal, batch]
        for custom_id, outcome, receipt in answers:
            keys.append(self._store.task_key(parts_of(custom_id)[0]))
            args += (custom_id, outcome, receipt)
        return keys, args

    def places(self, custom_ids: Sequence[str]) -> list[str | None]:
        """Where each prompt is: ``lane``, ``batch:<id>``, ``answered``, or None if forgotten."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id, number in map(parts_of, custom_ids):
            pipe.hget(self._store.task_key(task_id), f"{number}:place")
        return [
            reply.decode() if isinstance(reply, bytes) and reply else None
            for reply in replies_of(pipe)
        ]


_Answer = tuple[str, bytes, str]
"""What answer.lua is told of a prompt: its custom id, its outcome, its receipt."""

_ROWS, _BYTES = 100, 1_000_000
"""What one call of answer.lua is told at the most; one answer alone may be larger."""


def _slices(answers: Iterable[_Answer]) -> Iterator[list[_Answer]]:
    some: list[_Answer] = []
    size = 0
    for one in answers:
        size += len(one[1])
        if some and (len(some) >= _ROWS or size > _BYTES):
            yield some
            some, size = [], len(one[1])
        some.append(one)
    if some:
        yield some


def _read(reply: list[Any]) -> Iterator[tuple[str, bytes]]:
    """The word of each answer of a call, and the message that came with it."""
    words, error, *messages = reply
    if isinstance(error, Exception):
        raise error
    kept = iter(messages)
    for word in words.decode().split():
        yield word, next(kept) if word == "READY" else b""
