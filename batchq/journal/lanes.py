"""Lanes: the prompts that wait, and how they leave for a batch."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta

from batchq.errors import JournalUnreadable
from batchq.journal.adoption import Adoption
from batchq.journal.answers import Answers
from batchq.journal.batches import Batches
from batchq.journal.lease import Lease
from batchq.journal.pauses import Pauses
from batchq.journal.records import (
    BatchRecord,
    LaneRecord,
)
from batchq.journal.replies import (
    CHUNK,
    DAMAGED,
    chunks,
    count_of,
    id_in,
    ids_in,
    milliseconds,
    prompts_named,
    replies_of,
    say_skipped,
)
from batchq.journal.scripts import arguments
from batchq.journal.store import Store
from batchq.prompt import Lane
from batchq.settings.limits import Limits

__all__ = ["Lanes"]


class Lanes:
    """What waits, for how long, and how much of it goes."""

    def __init__(
        self, store: Store, batches: Batches, answers: Answers, adoption: Adoption, pauses: Pauses
    ) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key
        self._batches = batches
        self._answers = answers
        self._adoption = adoption
        self._pauses = pauses

    @contextmanager
    def lease(self, lane: Lane) -> Generator[Lease | None]:
        """Hold the only right to seal a lane, or get None where another has it."""
        with self._store.only(self._key("lease", "lane", lane.name)) as lease:
            yield lease

    def all(self) -> list[LaneRecord]:
        names: list[bytes] = sorted(self._redis.smembers(self._key("lanes")))
        lanes = [lane for name in names if (lane := self._lane_named(name)) is not None]
        pipe, everything = self._redis.pipeline(transaction=False), self._key("everything")
        for lane in lanes:
            waiting, totals = self._store.lane_keys(lane)
            pipe.zcard(waiting)
            pipe.zrange(waiting, 0, 0, withscores=True)
            pipe.hmget(totals, "bytes", "tokens")
            pipe.pttl(self._key("paused", lane.name))
        pipe.mget([everything, *(self._key("everything", lane.name) for lane in lanes)])
        now, (*replies, (call_for_all, *called)) = self._store.now(), replies_of(pipe)
        held, pauses = self.held(), self._pauses.among(lane.account for lane in lanes)
        records: list[LaneRecord] = []
        for lane, count, first, sums, pause, call in zip(
            lanes, *(replies[at::4] for at in range(4)), called, strict=True
        ):
            if isinstance(count, Exception):
                say_skipped(self._store.lane_keys(lane)[0], count, lane=lane.name)
                continue
            sizes = [0, 0] if isinstance(sums, Exception) else [count_of(one) for one in sums]
            oldest = max(0, now - first[0][1]) if first else 0
            record = LaneRecord(
                lane=lane,
                prompts=count,
                bytes=sizes[0],
                tokens=sizes[1],
                oldest=timedelta(milliseconds=oldest),
                held=lane in held,
                paused=timedelta(milliseconds=pause) if pause > 0 else None,
                called=_latest([call_for_all, call], now),
                account_pause=pauses.get(lane.account),
            )
            records.append(record)
        return records

    def _lane_named(self, name: bytes) -> Lane | None:
        lane = _lane_in(name)
        if lane is None:
            # No prompt knows a lane of that name: capture writes down what it can read again.
            say_skipped(f"a member of {self._key('lanes')}", ValueError())
            self._redis.srem(self._key("lanes"), name)
        return lane

    def seal(
        self,
        lane: Lane,
        batch_id: str,
        *,
        limits: Limits,
        tokens: int,
        alone: bool = True,
        epoch: str = "",
    ) -> tuple[int, bool]:
        """Move prompts of a lane into a batch; returns how many moved, and whether it is full.

        A batch that is ``alone`` takes its first prompt even if that has more than ``tokens``. None
        move where this is not the journal ``epoch`` any more.
        """
        waiting, totals = self._store.lane_keys(lane)
        candidates = self._candidates(waiting)
        # These and no others: one that is captured from here on has yet to look for itself.
        self._adoption.reuse_before(lane, candidates)
        keys = [
            *(waiting, totals, self._key("lanes"), *self._store.batch_keys(batch_id)),
            *(self._key("batches"), self._key("epoch")),
            *self._store.task_keys(candidates),
        ]
        args = arguments(
            batch=batch_id,
            lane=lane.name,
            limits=[limits.lines, limits.bytes, limits.embedding_inputs, tokens],
            keep=self._store.keep_journal,
            alone=alone,
            epoch=epoch or self._adoption.epoch().id,
            prompts=candidates,
        )
        moved, word, damaged = self._store.run("seal", keys, args)
        for custom_id in damaged:
            error, name = JournalUnreadable("its record"), custom_id.decode()
            say_skipped(f"the prompt {name}", error, prompt=name, lane=lane.name)
            # Rescue sends its task on, as far as there is one.
            self._answers.add(lane, [(custom_id.decode(), DAMAGED)])
        return int(moved), word == b"FULL"

    def _candidates(self, waiting: str) -> list[str]:
        members = self._store.members(waiting, 0, CHUNK - 1)
        if rubbish := [member for member in members if id_in(member) is None]:
            say_skipped(f"{len(rubbish)} members of {waiting}", ValueError())
            self._redis.zrem(waiting, *rubbish)
        return ids_in(members)

    def requeue(
        self, batch: BatchRecord, custom_ids: Sequence[str], *, use_attempt: bool
    ) -> dict[str, str]:
        """Send unanswered prompts of a batch back to their lane; returns a word for each."""
        words: dict[str, str] = {}
        for chunk in chunks(custom_ids):
            keys = [
                *self._store.lane_keys(batch.lane),
                self._key("lanes"),
                *self._store.task_keys(chunk),
            ]
            args = arguments(
                batch=batch.id,
                lane=batch.lane.name,
                used=int(use_attempt),
                most=self._store.config.max_attempts,
                keep=self._store.keep_journal,
                prompts=prompts_named(chunk),
            )
            replies: list[bytes] = self._store.run("requeue", keys, args)
            words.update(zip(chunk, (reply.decode() for reply in replies), strict=True))
        return words

    def queued_tokens(self, lane: Lane) -> int:
        """The tokens of all open batches that count against the same limit as this lane's."""
        kind = (lane.account, lane.model)
        batches = self._batches.open()
        return sum(b.tokens for b in batches if (b.lane.account, b.lane.model) == kind)

    def learned_limit(self, lane: Lane) -> int | None:
        """The provider's limit of queued tokens for this lane's model, as last learned from it."""
        return self._store.number(self._key("limit", lane.account, lane.model))

    def learned_limits(self, kinds: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The limits that were learned for these accounts and models, where there are any."""
        wanted = list(kinds)
        pipe = self._redis.pipeline(transaction=False)
        for account, model in wanted:
            pipe.get(self._key("limit", account, model))
        found = zip(wanted, replies_of(pipe), strict=True)
        limits = {kind: count_of(reply) for kind, reply in found if isinstance(reply, bytes)}
        return {kind: limit for kind, limit in limits.items() if limit}

    def learn_limit(self, lane: Lane, tokens: int) -> None:
        self._redis.set(self._key("limit", lane.account, lane.model), tokens, ex=timedelta(days=1))

    def call_for_everything(self, lane: Lane | None = None) -> None:
        """Let every prompt that waits now, or waits in one lane, be flushed; at the next ticks if
        there is no room yet.
        """
        key = self._key("everything", *(() if lane is None else (lane.name,)))
        self._redis.set(key, self._store.now(), px=self._store.keep_journal)

    def since_everything(self) -> timedelta | None:
        """How long ago everything was to be flushed, if ever."""
        called = self._store.number(self._key("everything"))
        return None if called is None else timedelta(milliseconds=self._store.now() - called)

    def hold(self, lane: Lane) -> bool:
        """Let nothing leave a lane until it is released; False where it was held already."""
        return bool(self._redis.sadd(self._key("held"), lane.name))

    def release(self, lane: Lane) -> bool:
        """Let a lane that is held go on; False where it was not."""
        return bool(self._redis.srem(self._key("held"), lane.name))

    def held(self) -> frozenset[Lane]:
        """The lanes that somebody holds, with or without prompts in them."""
        names: list[bytes] = self._redis.smembers(self._key("held"))
        return frozenset(lane for name in names if (lane := _lane_in(name)) is not None)

    def pause(self, lane: Lane, duration: timedelta) -> None:
        """Let a lane wait: the provider has no room for it now."""
        self._redis.set(self._key("paused", lane.name), 1, px=max(1, milliseconds(duration)))


def _latest(times: list[bytes | None], now: int) -> timedelta | None:
    """How long ago the later of some times was, if there is one."""
    latest = max(map(count_of, times))
    return timedelta(milliseconds=max(0, now - latest)) if latest else None


def _lane_in(name: bytes) -> Lane | None:
    try:
        return Lane.from_name(name.decode())
    except ValueError:
        return None
