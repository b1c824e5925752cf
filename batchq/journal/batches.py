"""Batches, from their seal to their close."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, cast

from batchq.common.points import point
from batchq.errors import JournalUnreadable
from batchq.journal.lease import Lease
from batchq.journal.records import (
    KILLS,
    BatchRecord,
)
from batchq.journal.replies import (
    chunks,
    milliseconds,
    prompts_named,
    replies_of,
)
from batchq.journal.scripts import arguments, texts
from batchq.journal.store import Store
from batchq.journal.tallies import KEEP_SUMS, Tallies

__all__ = ["Batches"]

logger = logging.getLogger("batchq.journal")


class Batches:
    """The open and the closed batches."""

    def __init__(self, store: Store, tallies: Tallies) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key
        self._tallies = tallies

    def get(self, batch_id: str) -> BatchRecord | None:
        (found,) = self._records([batch_id])
        if isinstance(found, JournalUnreadable):
            raise found
        return found

    def _records(self, batch_ids: Sequence[str]) -> list[BatchRecord | JournalUnreadable | None]:
        pipe = self._redis.pipeline(transaction=False)
        for batch_id in batch_ids:
            pipe.hgetall(self._store.batch_keys(batch_id)[0])
        return [
            self._record(batch_id, reply)
            for batch_id, reply in zip(batch_ids, replies_of(pipe), strict=True)
        ]

    def _record(self, batch_id: str, reply: Any) -> BatchRecord | JournalUnreadable | None:
        try:
            if b"lane" not in reply:
                return None
            known = {name.decode(): value.decode() for name, value in reply.items()}
            return BatchRecord.from_hash(batch_id, known)
        except (ValueError, TypeError, AttributeError):
            return JournalUnreadable(f"the record {self._store.batch_keys(batch_id)[0]}")

    def open(self) -> list[BatchRecord]:
        """The batches that are not over, from the one whose next step is due first."""
        ids = self._store.members(self._key("batches"), 0, -1)
        records: list[BatchRecord] = []
        found = self._records([batch_id.decode(errors="replace") for batch_id in ids])
        for batch_id, record in zip(ids, found, strict=True):
            if isinstance(record, JournalUnreadable):
                # It stays, for its prompts are in there: somebody has to look at it.
                name = batch_id.decode(errors="replace")
                logger.error("%s", record, extra={"action": "skip", "batch": name})
            elif record is None:
                self._redis.zrem(self._key("batches"), batch_id)
            else:
                records.append(record)
        return records

    def closed(self, count: int) -> list[BatchRecord]:
        """The batches that ended last, newest first."""
        return self.named(self.closed_ids(count))

    def closed_ids(self, count: int) -> list[str]:
        """The ids of the batches that ended last, newest first; their records change no more."""
        ids: list[bytes] = self._redis.zrevrange(self._key("closed"), 0, count - 1)
        return [batch_id.decode(errors="replace") for batch_id in ids]

    def named(self, batch_ids: Iterable[str]) -> list[BatchRecord]:
        """The records of these batches, without those that are not kept any more."""
        found = [record for some in chunks(batch_ids) for record in self._records(some)]
        return [record for record in found if isinstance(record, BatchRecord)]

    def advance(
        self,
        batch_id: str,
        lease: Lease,
        *,
        due: timedelta,
        told_at: int | None = None,
        **fields: Any,
    ) -> str:
        """Record what a step did. Returns LOST, writing nothing, where the lease is another's.

        With ``told_at``, which says when a webhook told of the batch as far as the step knows, it
        returns TOLD where another came meanwhile: what the step saw may be from before that, so
        the next one is due now.
        """
        keys = [self._store.batch_keys(batch_id)[0], lease.key, self._key("batches")]
        if provider_id := fields.get("provider_id"):
            keys.append(self._store.provider_key(provider_id))
        args = arguments(
            token=lease.token,
            batch=batch_id,
            due=milliseconds(due),
            told_at=None if told_at is None else str(told_at),
            keep=self._store.keep_journal,
            fields=texts(fields),
        )
        return self._store.word("advance", keys, args)

    def due_in(self, batch_id: str) -> timedelta:
        """How long until the next step of a batch is due."""
        due: float | None = self._redis.zscore(self._key("batches"), batch_id)
        return timedelta(milliseconds=0 if due is None else due - self._store.now())

    def lateness(self) -> dict[str, timedelta]:
        """How late the next step is of each open batch, where it is and nobody is at it."""
        now = self._store.now()
        found: list[tuple[bytes, float]] = self._redis.zrangebyscore(
            self._key("batches"), "-inf", f"({now}", withscores=True
        )
        late = {batch_id.decode(errors="replace"): now - due for batch_id, due in found}
        pipe = self._redis.pipeline(transaction=False)
        for batch_id in late:
            pipe.exists(self._key("lease", "batch", batch_id))
        return {
            batch_id: timedelta(milliseconds=by)
            for (batch_id, by), held in zip(late.items(), replies_of(pipe), strict=True)
            if not held
        }

    def wake(self, batch_id: str, *, longest: timedelta, chain: str = "") -> bool:
        """True where a batch that waits for a step nobody takes may be woken now.

        False while a step is under way, and for a while after the batch was woken: the message may
        stand in a long queue. That while doubles each time, up to ``longest``.
        """
        keys = [
            self._store.batch_keys(batch_id)[0],
            self._key("lease", "batch", batch_id),
            self._key("batches"),
        ]
        first = milliseconds(self._store.config.lease)
        args = arguments(
            batch=batch_id, first=first, longest=milliseconds(longest), chain=chain or None
        )
        return self._store.word("wake", keys, args) == "WOKEN"

    def close(
        self,
        batch: BatchRecord,
        lease: Lease,
        *,
        tally: Mapping[str, int] | None = None,
        **fields: Any,
    ) -> str:
        """A batch is over. ``tally`` is added to the sums of its lane and of today, see `Sums`."""
        keys = [
            *self._store.batch_keys(batch.id),
            lease.key,
            self._key("batches"),
            self._key("closed"),
        ]
        keys += self._tallies.keys(batch.lane, self._store.now())
        args = arguments(
            token=lease.token,
            batch=batch.id,
            keep=max(1, milliseconds(self._store.config.keep_batches)),
            keep_sums=milliseconds(KEEP_SUMS),
            lane=batch.lane.name,
            fields=texts(fields),
            tally=tally or None,
        )
        return self._store.word("close", keys, args)

    def ask_to_cancel(self, batch_id: str) -> bool:
        """Write down that an open batch is to end, and let its next step be due now."""
        keys = [self._store.batch_keys(batch_id)[0], self._key("batches")]
        return self._store.word("cancel", keys, arguments(batch=batch_id)) == "ASKED"

    def revive(self, batch_id: str, *, ask_again: bool = False) -> bool:
        """Let a batch that is set aside be tried again; False where it is not.

        With ``ask_again``, what its files do not say counts as not answered.
        """
        keys = [self._store.batch_keys(batch_id)[0], self._key("batches")]
        args = arguments(batch=batch_id, ask_again=ask_again)
        return self._store.word("revive_batch", keys, args) == "REVIVED"

    def note_object(self, batch_id: str, content: Mapping[str, Any]) -> None:
        """Keep the provider's own words on a batch, as of its last poll."""
        keep = max(1, milliseconds(self._store.config.keep_batches))
        with self._store.to_look_at():
            self._redis.set(self._key("object", batch_id), json.dumps(content), px=keep)

    def object_of(self, batch_id: str) -> dict[str, Any] | None:
        """The batch as the provider last described it; None where it never did."""
        try:
            found: Any = json.loads(self._redis.get(self._key("object", batch_id)) or b"null")
        except ValueError:
            return None
        return cast("dict[str, Any]", found) if isinstance(found, dict) else None

    def split(
        self, batch: BatchRecord, custom_ids: Sequence[str], part_id: str, *, budget: int
    ) -> Literal["MOVED", "FULL", "SPENT"]:
        """Move prompts of a batch that failed its validation into a part of it, a new batch."""
        word = "MOVED"
        for chunk in chunks(custom_ids):
            keys = [
                *self._store.batch_keys(part_id),
                self._key("batches"),
                self._parts_of(batch),
            ]
            keys += self._store.task_keys(chunk)
            args = arguments(
                batch=batch.id,
                part=part_id,
                lane=batch.lane.name,
                origin=batch.origin or batch.id,
                budget=budget,
                keep=self._store.keep_journal,
                prompts=prompts_named(chunk),
            )
            word = self._store.run("split", keys, args)[1].decode()
            if word != "MOVED":
                break
        return cast("Literal['MOVED', 'FULL', 'SPENT']", word)

    def _parts_of(self, batch: BatchRecord) -> str:
        return self._key("parts", batch.origin or batch.id)

    def passed(self, batch: BatchRecord) -> None:
        """Note that a part of a split batch passed its validation: more parts may be made."""
        # Should we die in between, one part's worth is missing.
        if self._redis.hsetnx(self._store.batch_keys(batch.id)[0], "passed", 1):
            self._redis.hincrby(self._parts_of(batch), "passed", 1)
            self._redis.pexpire(self._parts_of(batch), self._store.keep_journal)

    def gets_on(self, batch_id: str) -> None:
        """Note that a step on a batch has got further than the one before it."""
        self._redis.hdel(self._store.batch_keys(batch_id)[0], "crashes")

    @contextmanager
    def lease(self, batch_id: str) -> Generator[Lease | None]:
        """Hold the only right to work on a batch. None where another has it, or where the steps
        on this batch killed their workers and it is set aside.
        """
        lease = self.begin(batch_id)
        if lease is None:
            yield None
            return
        with self._store.held(lease, [lease.key, self._store.batch_keys(batch_id)[0]]):
            point("batch.leased")
            yield lease

    def set_aside(
        self, batch_id: str, lease: Lease, why: str, *, code: str, after: int = 1
    ) -> tuple[str, int]:
        """A step could not do its work; after so many in a row the batch is set aside.

        Returns FAILED, DEAD or LOST, and how many there were by now. The lease is given up.
        """
        keys = [lease.key, self._store.batch_keys(batch_id)[0], self._key("batches")]
        patience = milliseconds(self._store.config.batch_deadline)
        args = arguments(
            token=lease.token,
            batch=batch_id,
            after=after,
            patience=patience,
            why=why,
            code=code,
        )
        word, times = self._store.run("aside", keys, args)
        return word.decode(), times

    def begin(self, batch_id: str) -> Lease | None:
        """Take the lease of a step on a batch, as `batch_lease` does; the caller gives it up."""
        lease = Lease(self._key("lease", "batch", batch_id), secrets.token_hex(8))
        keys = [lease.key, self._store.batch_keys(batch_id)[0], self._key("batches")]
        args = arguments(
            token=lease.token,
            lease=milliseconds(self._store.config.lease),
            batch=batch_id,
            kills=KILLS,
            patience=milliseconds(self._store.config.batch_deadline),
            why=f"set aside: {KILLS} steps on it killed their workers",
        )
        word = self._store.word("begin", keys, args)
        if word == "DEAD":
            ids = {"batch": batch_id}
            logger.error(
                "batch %s is set aside until somebody retries it; `dead` says why",
                batch_id,
                extra={"action": "set-aside", **ids},
            )
        return lease if word == "BEGUN" else None
