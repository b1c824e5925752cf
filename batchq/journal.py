"""The journal in Redis: what every task asked, what came back, and where each prompt is now.

The one module that knows Redis keys and calls Lua. Each transition is one script; all keys
share one hash tag, so they live in one slot of a cluster. The only clock is Redis's own.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from itertools import islice
from typing import Any, Literal, TypeVar

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from batchq.account import Limits
from batchq.config import Settings, settings
from batchq.lease import Lease, kept
from batchq.prompt import Lane, Outcome, Prompt, line, pack, split_id, unpack
from batchq.prompt import custom_id as id_of

__all__ = ["BatchRecord", "Claim", "Entry", "Journal", "LaneRecord", "chunks", "journal_of"]

T = TypeVar("T")

CHUNK = 500
"""Prompts that one script call or round trip moves: few enough that Redis stays responsive."""

_BODIES = 8_000_000
"""Bytes of prompt bodies that are read from Redis at once."""

_SCRIPTS = (
    "advance answer capture claim close drop keep note release renew requeue seal sent settle"
).split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call of a body as the journal has it. ``outcome`` is None while it is out."""

    number: int
    endpoint: str
    model: str
    fingerprint: str
    round: int
    outcome: Outcome | None
    site: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The answer to a run that asks to begin: whether it may, and what its task knows already."""

    word: Literal["CLAIMED", "BUSY", "ENDING", "WAITING", "DONE"]
    entries: tuple[Entry, ...] = ()
    steps: Mapping[str, str] | None = None
    next_number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRecord:
    """What waits in one lane. ``oldest`` is how long its first prompt has waited."""

    lane: Lane
    prompts: int
    bytes: int
    tokens: int
    oldest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One batch as the journal has it. Times are milliseconds of Redis's clock; 0 is "not yet".

    ``state`` is ``sealed``, ``uploaded``, ``submitted``, ``finished`` or ``closed``. Once closed it
    says how many rows were ``answered`` from it, answered ``already``, of an ``unknown`` prompt or
    ``unreadable``, and how many prompts had to be ``asked_again``.
    """

    id: str
    lane: Lane
    state: str
    lines: int
    bytes: int
    tokens: int
    sealed_at: int
    upload_intent_at: int = 0
    input_file_id: str = ""
    create_intent_at: int = 0
    looks: int = 0
    refused: int = 0
    provider_id: str = ""
    submitted_at: int = 0
    status: str = ""
    completed: int = 0
    failed: int = 0
    chain: str = ""
    finished_at: int = 0
    closed_at: int = 0
    missing_since: int = 0
    answered: int = 0
    already: int = 0
    unknown: int = 0
    unreadable: int = 0
    asked_again: int = 0
    note: str = ""

    @classmethod
    def from_hash(cls, batch_id: str, fields: Mapping[str, str]) -> BatchRecord:
        known: dict[str, Any] = {}
        for name, kind in cls.__annotations__.items():
            if name in fields and name not in {"id", "lane"}:
                known[name] = int(fields[name]) if kind == "int" else fields[name]
        return cls(id=batch_id, lane=Lane.from_name(fields["lane"]), **known)


class Journal:
    """All that is written to Redis, as verbs. Safe to share between threads."""

    def __init__(self, client: redis.Redis, config: Settings) -> None:
        # redis-py types a reply as everything that any server might answer.
        self._redis: Any = client
        self._config = config
        self._scripts: dict[str, Any] = {
            name: self._redis.register_script(_source(name)) for name in _SCRIPTS
        }

    # Keys

    def key(self, *parts: str) -> str:
        return ":".join((f"{{{self._config.key_prefix}}}", *parts))

    def _task(self, task_id: str) -> str:
        return self.key("task", task_id)

    def _bodies(self, task_id: str) -> str:
        return self.key("bodies", task_id)

    def _task_lease(self, task_id: str) -> str:
        return self.key("lease", "task", task_id)

    def _lane(self, lane: Lane) -> list[str]:
        return [self.key("lane", lane.name), self.key("totals", lane.name)]

    def _batch(self, batch_id: str) -> list[str]:
        return [self.key("batch", batch_id), self.key("lines", batch_id)]

    def _run(self, script: str, keys: Sequence[str], args: Sequence[Any], on: Any = None) -> Any:
        return self._scripts[script](keys=keys, args=args, client=on)

    def _word(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> str:
        word: bytes = self._run(script, keys, args)
        return word.decode()

    @property
    def _keep_journal(self) -> int:
        return _milliseconds(self._config.keep_journal)

    def now(self) -> int:
        """Milliseconds of Redis's own clock: worker clocks differ, this one is shared."""
        clock: tuple[int, int] = self._redis.time()
        seconds, microseconds = clock
        return seconds * 1000 + microseconds // 1000

    # One run of a task's body

    def claim(self, task_id: str, *, token: str, nesting: int, retries: int) -> Claim:
        reply = self._run(
            "claim",
            [
                *(self._task(task_id), self._bodies(task_id), self._task_lease(task_id)),
                self.key("resuming"),
            ],
            [
                *(token, _milliseconds(self._config.lease), nesting, retries),
                *(self._keep_journal, task_id),
            ],
        )
        word = reply[0].decode()
        return _read_claim(_pairs(reply[1])) if word == "CLAIMED" else Claim(word=word)

    def capture(
        self,
        task_id: str,
        *,
        token: str,
        message: bytes,
        prompts: Sequence[Prompt],
        next_number: int,
    ) -> str:
        keys = [
            *(self._task(task_id), self._bodies(task_id), self._task_lease(task_id)),
            *(self.key(name) for name in ("waiting", "resuming", "lanes", "counters")),
        ]
        args: list[Any] = [token, task_id, pack(message), self._keep_journal, next_number]
        for prompt in prompts:
            record = {
                "lane": prompt.lane.name,
                "fingerprint": prompt.fingerprint,
                "round": prompt.round,
                "site": prompt.site,
            }
            keys += self._lane(prompt.lane)
            args += [prompt.number, prompt.custom_id, prompt.lane.name, pack(prompt.body)]
            args += [json.dumps(record), prompt.size, prompt.tokens, prompt.inputs]
        return self._word("capture", keys, args)

    def keep(self, task_id: str, *, message: bytes) -> str:
        """Keep the message of a delivery that found its task busy."""
        keys = [self._task(task_id), self.key("resuming")]
        return self._word("keep", keys, [task_id, pack(message)])

    def note_step(self, task_id: str, *, token: str, name: str, value: str) -> str:
        """Write down the result of a step that the body runs once."""
        return self._note(task_id, token, {f"once:{name}": value})

    def note_live(self, task_id: str, *, token: str, entry: Entry) -> str:
        """Write down a call that a body made live, so that a replay does not pay for it again."""
        if entry.outcome is None:
            raise ValueError("a live call is written down with its outcome")
        lane = Lane(account="", endpoint=entry.endpoint, model=entry.model)
        record = {"lane": lane.name, "fingerprint": entry.fingerprint, "round": entry.round}
        fields = {
            f"{entry.number}:record": json.dumps(record),
            f"{entry.number}:outcome": entry.outcome.to_bytes(),
            f"{entry.number}:place": "answered",
            "calls": entry.number + 1,
        }
        return self._note(task_id, token, fields)

    def _note(self, task_id: str, token: str, fields: Mapping[str, Any]) -> str:
        flat = [part for pair in fields.items() for part in pair]
        return self._word("note", [self._task(task_id)], [token, self._keep_journal, *flat])

    def settle(
        self, task_id: str, *, token: str, state: str, final: bool, ask_again: Iterable[int] = ()
    ) -> str:
        """End a run that asked nothing more, and drop the answers of the calls in ``ask_again``."""
        keep = _milliseconds(self._config.keep_done) if final else self._keep_journal
        return self._word(
            "settle",
            [
                *(self._task(task_id), self._bodies(task_id), self._task_lease(task_id)),
                *(self.key(name) for name in ("waiting", "resuming")),
            ],
            [token, task_id, state, int(final), max(keep, 1), *ask_again],
        )

    # Leases

    def task_lease(self, task_id: str) -> Lease:
        """The lease that a claim of this task's run takes."""
        return Lease(self._task_lease(task_id), secrets.token_hex(8), owner=self._task(task_id))

    @contextmanager
    def lease(self, kind: str, name: str, duration: timedelta) -> Generator[Lease | None]:
        """Hold the only right to work on something, or get None where another has it."""
        lease = Lease(self.key("lease", kind, name), secrets.token_hex(8))
        taken = self._redis.set(lease.key, lease.token, nx=True, px=_milliseconds(duration))
        # It is our own where the answer to a first try was lost on its way.
        if not taken and self._redis.get(lease.key) != lease.token.encode():
            yield None
            return
        try:
            with kept(self, lease, duration):
                yield lease
        finally:
            self._word("release", [lease.key], [lease.token])

    def renew(self, leases: Iterable[Lease], duration: timedelta) -> list[bool]:
        """Keep leases a while longer; returns for each whether it is still held."""
        pipe = self._redis.pipeline(transaction=False)
        for lease in leases:
            keys = [lease.key, lease.owner] if lease.owner else [lease.key]
            self._run("renew", keys, [lease.token, _milliseconds(duration)], on=pipe)
        return [reply == b"RENEWED" for reply in pipe.execute()]

    # Lanes

    def lanes(self) -> list[LaneRecord]:
        names: list[bytes] = sorted(self._redis.smembers(self.key("lanes")))
        lanes = [Lane.from_name(name.decode()) for name in names]
        pipe = self._redis.pipeline(transaction=False)
        for lane in lanes:
            waiting, totals = self._lane(lane)
            pipe.zcard(waiting)
            pipe.zrange(waiting, 0, 0, withscores=True)
            pipe.hmget(totals, "bytes", "tokens")
        now, replies = self.now(), pipe.execute()
        return [
            LaneRecord(
                lane=lane,
                prompts=count,
                bytes=int(sums[0] or 0),
                tokens=int(sums[1] or 0),
                oldest=timedelta(milliseconds=max(0, now - first[0][1]) if first else 0),
            )
            for lane, count, first, sums in zip(
                lanes, replies[0::3], replies[1::3], replies[2::3], strict=True
            )
        ]

    def seal(
        self, lane: Lane, batch_id: str, *, limits: Limits, tokens: int, alone: bool = True
    ) -> tuple[int, bool]:
        """Move prompts of a lane into a batch; returns how many moved, and whether it is full.

        A batch that is ``alone`` takes its first prompt even if that has more than ``tokens``.
        """
        waiting, totals = self._lane(lane)
        candidates = [member.decode() for member in self._range(waiting, 0, CHUNK - 1)]
        pairs = [(custom_id, *_parts(custom_id)) for custom_id in candidates]
        keys = [
            *(waiting, totals, self.key("lanes"), *self._batch(batch_id)),
            self.key("batches"),
            *(self._task(task_id) for _, task_id, _ in pairs),
        ]
        args = [
            *(batch_id, lane.name, limits.lines, limits.bytes, limits.embedding_inputs, tokens),
            *(self._keep_journal, int(alone)),
            *(part for custom_id, _, number in pairs for part in (custom_id, number)),
        ]
        moved, word = self._run("seal", keys, args)
        return int(moved), word == b"FULL"

    def requeue(
        self, batch: BatchRecord, custom_ids: Sequence[str], *, use_attempt: bool
    ) -> dict[str, str]:
        """Send unanswered prompts of a batch back to their lane; returns a word for each."""
        words: dict[str, str] = {}
        for chunk in chunks(custom_ids):
            pairs = [(custom_id, *_parts(custom_id)) for custom_id in chunk]
            keys = [
                *self._lane(batch.lane),
                self.key("lanes"),
                *(self._task(task) for _, task, _ in pairs),
            ]
            args = [
                *(batch.id, batch.lane.name, int(use_attempt), self._config.max_attempts),
                self._keep_journal,
                *(part for custom_id, _, number in pairs for part in (custom_id, number)),
            ]
            replies: list[bytes] = self._run("requeue", keys, args)
            words.update(zip(chunk, (reply.decode() for reply in replies), strict=True))
        return words

    def queued_tokens(self, lane: Lane) -> int:
        """The tokens of all open batches that count against the same limit as this lane's."""
        kind = (lane.account, lane.model)
        batches = self.open_batches()
        return sum(b.tokens for b in batches if (b.lane.account, b.lane.model) == kind)

    def learned_limit(self, lane: Lane) -> int | None:
        """The provider's limit of queued tokens for this lane's model, as last learned from it."""
        value = self._redis.get(self.key("limit", lane.account, lane.model))
        return None if value is None else int(value)

    def learn_limit(self, lane: Lane, tokens: int) -> None:
        self._redis.set(self.key("limit", lane.account, lane.model), tokens, ex=timedelta(days=1))

    def call_for_everything(self) -> None:
        """Let every prompt that waits now be flushed, at the next ticks if there is no room yet."""
        self._redis.set(self.key("everything"), self.now(), px=self._keep_journal)

    def since_everything(self) -> timedelta | None:
        """How long ago everything was to be flushed, if ever."""
        called: bytes | None = self._redis.get(self.key("everything"))
        return None if called is None else timedelta(milliseconds=self.now() - int(called))

    def pause(self, lane: Lane, duration: timedelta) -> None:
        """Let a lane wait: the provider has no room for it now."""
        self._redis.set(self.key("paused", lane.name), 1, px=max(1, _milliseconds(duration)))

    def paused(self, lane: Lane) -> bool:
        return bool(self._redis.exists(self.key("paused", lane.name)))

    # Batches

    def batch(self, batch_id: str) -> BatchRecord | None:
        fields: dict[bytes, bytes] = self._redis.hgetall(self._batch(batch_id)[0])
        if b"lane" not in fields:
            return None
        return BatchRecord.from_hash(batch_id, {k.decode(): v.decode() for k, v in fields.items()})

    def open_batches(self, *, overdue: timedelta | None = None) -> list[BatchRecord]:
        """The batches that are not over; with ``overdue``, those whose next step is that late."""
        until: Any = "+inf" if overdue is None else self.now() - _milliseconds(overdue)
        ids: list[bytes] = self._redis.zrangebyscore(self.key("batches"), "-inf", until)
        records: list[BatchRecord] = []
        for batch_id in ids:
            record = self.batch(batch_id.decode())
            if record is None:
                self._redis.zrem(self.key("batches"), batch_id)
            else:
                records.append(record)
        return records

    def closed_batches(self, count: int) -> list[BatchRecord]:
        """The batches that ended last, newest first."""
        ids: list[bytes] = self._redis.zrevrange(self.key("closed"), 0, count - 1)
        records = (self.batch(batch_id.decode()) for batch_id in ids)
        return [record for record in records if record is not None]

    def advance(self, batch_id: str, lease: Lease, *, due: timedelta, **fields: Any) -> str:
        """Record what a step did. Returns LOST, writing nothing, where the lease is another's."""
        keys = [self._batch(batch_id)[0], lease.key, self.key("batches")]
        flat = [part for pair in fields.items() for part in pair]
        return self._word("advance", keys, [lease.token, batch_id, _milliseconds(due), *flat])

    def due_in(self, batch_id: str) -> timedelta:
        """How long until the next step of a batch is due."""
        due: float | None = self._redis.zscore(self.key("batches"), batch_id)
        return timedelta(milliseconds=0 if due is None else due - self.now())

    def wake(self, batch_id: str, *, chain: str = "") -> bool:
        """True where a batch that waits for a step nobody takes may be woken now.

        False for a while after that: the message of the step may stand in a long queue.
        """
        guard = self.key("woken", batch_id)
        if not self._redis.set(guard, 1, nx=True, px=_milliseconds(self._config.lease)):
            return False
        if chain and self._redis.zscore(self.key("batches"), batch_id) is not None:
            self._redis.hset(self._batch(batch_id)[0], "chain", chain)
        return True

    def close(self, batch_id: str, lease: Lease, **fields: Any) -> str:
        keys = [*self._batch(batch_id), lease.key, self.key("batches"), self.key("closed")]
        flat = [part for pair in fields.items() for part in pair]
        keep = max(1, _milliseconds(self._config.keep_batches))
        return self._word("close", keys, [lease.token, batch_id, keep, *flat])

    def prompts_of(self, batch_id: str) -> Iterator[str]:
        """The custom ids of a batch, in the order of its lines."""
        start = 0
        while chunk := self._range(self._batch(batch_id)[1], start, start + CHUNK - 1):
            yield from (member.decode() for member in chunk)
            start += len(chunk)

    def prompt_at(self, batch_id: str, line_number: int) -> str | None:
        """The custom id on a line of a batch file; lines count from 1."""
        found = self._range(self._batch(batch_id)[1], line_number - 1, line_number - 1)
        return found[0].decode() if found else None

    def lines(self, batch: BatchRecord) -> Iterator[tuple[str, bytes]]:
        """The lines of a batch file, one at a time, in order.

        A prompt whose body is gone has an empty line: its task was forgotten, or is about to be.
        """
        # A few megabytes of bodies at a time, whatever their size.
        size = max(1, min(CHUNK, _BODIES * batch.lines // max(1, batch.bytes)))
        for custom_ids in chunks(list(self.prompts_of(batch.id)), size):
            pipe = self._redis.pipeline(transaction=False)
            for task_id, number in map(_parts, custom_ids):
                pipe.hget(self._bodies(task_id), str(number))
            for custom_id, body in zip(custom_ids, pipe.execute(), strict=True):
                known = body is not None
                yield (
                    custom_id,
                    line(custom_id, batch.lane.endpoint, unpack(body)) if known else b"",
                )

    def take_out(self, batch_id: str, custom_ids: Iterable[str]) -> None:
        """Take lines out of a batch that has not been uploaded."""
        self._redis.zrem(self._batch(batch_id)[1], *custom_ids)

    # Answers

    def answer(self, lane: Lane, outcomes: Sequence[tuple[str, Outcome]]) -> list[str]:
        """Give prompts (by custom id) their outcomes; returns a word for each, see answer.lua."""
        pipe = self._redis.pipeline(transaction=False)
        for custom_id, outcome in outcomes:
            task_id, number = _parts(custom_id)
            keys = [
                *(
                    self._task(task_id),
                    self.key("waiting"),
                    self.key("resuming"),
                    self.key("counters"),
                ),
                *self._lane(lane),
            ]
            args = [task_id, number, custom_id, outcome.to_bytes(), self._keep_journal]
            self._run("answer", keys, args, on=pipe)
        replies: list[bytes] = pipe.execute()
        return [reply.decode() for reply in replies]

    def places(self, custom_ids: Sequence[str]) -> list[str | None]:
        """Where each prompt is: ``lane``, ``batch:<id>``, ``answered``, or None if forgotten."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id, number in map(_parts, custom_ids):
            pipe.hget(self._task(task_id), f"{number}:place")
        return [reply.decode() if reply else None for reply in pipe.execute()]

    # Tasks on their way back

    def messages(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The messages that resume these tasks; None where there is nothing to resume."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.hmget(self._task(task_id), "next", "message")
        return [unpack(newer or kept) if newer or kept else None for newer, kept in pipe.execute()]

    def stuck(self, *, unclaimed_for: timedelta) -> list[str]:
        """Tasks that have all their answers, or were kept for later, and that nobody resumes.

        Their message was never sent, or the run that took it died, or it was sent long ago and no
        run took it: a message may also wait in a long queue, so that time doubles with each one.
        """
        now = self.now()
        found: list[tuple[bytes, float]] = self._redis.zrange(
            self.key("resuming"), 0, 9_999, withscores=True
        )
        sent = [(member.decode(), int(score)) for member, score in found]
        pipe = self._redis.pipeline(transaction=False)
        for task_id, _ in sent:
            pipe.exists(self._task_lease(task_id))
            pipe.hmget(self._task(task_id), "run", "sends")
        replies = pipe.execute()
        stuck: list[str] = []
        for (task_id, sent_at), held, (run, sends) in zip(
            sent, replies[::2], replies[1::2], strict=True
        ):
            patience = _milliseconds(unclaimed_for) * 2 ** min(int(sends or 1) - 1, 10)
            if not held and (sent_at == 0 or run is not None or now - sent_at > patience):
                stuck.append(task_id)
        return stuck

    def sent(self, task_ids: Sequence[str]) -> None:
        """Note that the messages of these tasks were sent just now."""
        for chunk in chunks(task_ids):
            self._run("sent", [self.key("resuming"), *map(self._task, chunk)], chunk)

    def drop(self, task_id: str) -> None:
        """Forget a task that Celery knows to be final: nobody waits for its answers.

        What stays for a while is the mark that refuses a second delivery.
        """
        fields: dict[bytes, bytes] = self._redis.hgetall(self._task(task_id))
        keys = [self._task(task_id), self._bodies(task_id)]
        keys += [self.key("waiting"), self.key("resuming")]
        args: list[Any] = [task_id, max(1, _milliseconds(self._config.keep_done))]
        for name, place in fields.items():
            number, _, what = name.decode().partition(":")
            if what == "place" and place == b"lane":
                record = json.loads(fields[f"{number}:record".encode()])
                keys += self._lane(Lane.from_name(record["lane"]))
                args += [number, id_of(task_id, int(number))]
        self._word("drop", keys, args)

    def forget_expired(self) -> None:
        """Take tasks whose journal has run out from those that wait: no answer will do it."""
        until = self.now() - self._keep_journal
        oldest: list[bytes] = self._redis.zrangebyscore(
            self.key("waiting"), "-inf", until, start=0, num=CHUNK
        )
        for task_id in oldest:
            if not self._redis.exists(self._task(task_id.decode())):
                self._redis.zrem(self.key("waiting"), task_id)

    def let_go(self, task_ids: Iterable[str]) -> None:
        """Resume these tasks no more: there is no message to do it with. What they know stays."""
        for task_id in task_ids:
            self._redis.zrem(self.key("resuming"), task_id)

    # What there is to see

    def counters(self) -> dict[str, int]:
        """How many prompts were captured and answered since the journal began."""
        fields: dict[bytes, bytes] = self._redis.hgetall(self.key("counters"))
        return {name.decode(): int(value) for name, value in fields.items()}

    def waiting_tasks(self) -> int:
        count: int = self._redis.zcard(self.key("waiting"))
        return count

    def resuming_tasks(self) -> int:
        count: int = self._redis.zcard(self.key("resuming"))
        return count

    def _range(self, key: str, start: int, stop: int) -> list[bytes]:
        members: list[bytes] = self._redis.zrange(key, start, stop)
        return members


def journal_of(app: Any) -> Journal:
    """The journal of a Celery app, made once per process: no connection is shared by a fork."""
    config = settings(app)
    made = _journals.get(id(config))
    if made is None or made[0] != os.getpid():
        made = _journals[id(config)] = (os.getpid(), Journal(_connect(config), config))
    return made[1]


_journals: dict[int, tuple[int, Journal]] = {}


def _connect(config: Settings) -> redis.Redis:
    # A half-open connection hangs a client without timeouts for good; every script here may be
    # sent twice without harm, so what was cut is tried again.
    client: redis.Redis = redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        config.redis_url,
        socket_timeout=10,
        socket_connect_timeout=5,
        socket_keepalive=True,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), retries=3),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
    )
    return client


def _source(name: str) -> str:
    return resources.files("batchq.lua").joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _milliseconds(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)


def _pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _read_claim(fields: Mapping[str, bytes]) -> Claim:
    entries: list[Entry] = []
    steps: dict[str, str] = {}
    for name, value in fields.items():
        number, _, what = name.partition(":")
        if number == "once":
            steps[what] = value.decode()
        elif what == "record":
            record = json.loads(value)
            lane = Lane.from_name(record["lane"])
            outcome = fields.get(f"{number}:outcome")
            entry = Entry(
                number=int(number),
                endpoint=lane.endpoint,
                model=lane.model,
                fingerprint=record["fingerprint"],
                round=record["round"],
                outcome=Outcome.from_bytes(outcome) if outcome is not None else None,
                site=record.get("site", ""),
            )
            entries.append(entry)
    entries.sort(key=lambda entry: entry.number)
    next_number = int(fields.get("calls", b"0"))
    return Claim(word="CLAIMED", entries=tuple(entries), steps=steps, next_number=next_number)


def _parts(custom_id: str) -> tuple[str, int]:
    parts = split_id(custom_id)
    if parts is None:
        raise ValueError(f"{custom_id!r} is not the id of a prompt")
    return parts


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk
