"""Answers, and where each prompt is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        calls: list[Call] = []
        now = self._store.now() if outcomes else 0
        for custom_id, outcome in outcomes:
            task_id, number = parts_of(custom_id)
            keys = [
                *(
                    self._store.task_key(task_id),
                    self._key("waiting"),
                    self._key("resuming"),
                    self._key("counters"),
                ),
                *self._store.lane_keys(lane),
            ]
            args = [task_id, number, custom_id, self._store.codec.seal(outcome.to_bytes())]
            receipt = (receipts or {}).get(custom_id) or Receipt.of(outcome)
            args += [self._store.keep_journal, receipt.to_json(answered_at=now), batch]
            calls.append((keys, args))
        words = self._store.words("answer", calls)
        for (custom_id, _), word in zip(outcomes, words, strict=True):
            if word == "BROKEN":
                error = JournalUnreadable("its task's record")
                say_skipped(f"the answer to {custom_id}", error, prompt=custom_id)
        return words

    def places(self, custom_ids: Sequence[str]) -> list[str | None]:
        """Where each prompt is: ``lane``, ``batch:<id>``, ``answered``, or None if forgotten."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id, number in map(parts_of, custom_ids):
            pipe.hget(self._store.task_key(task_id), f"{number}:place")
        return [
            reply.decode() if isinstance(reply, bytes) and reply else None
            for reply in replies_of(pipe)
        ]
