"""What all of the journal stands on: its keys, its scripts, its clock, its leases."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import Any

import redis

from batchq.journal.clock import Clock, source_of
from batchq.journal.codec import Codec, codec_of
from batchq.journal.facts import Facts, look
from batchq.journal.lease import Lease, kept
from batchq.journal.replies import (
    is_full,
    is_rubbish,
    milliseconds,
    opened,
    parts_of,
    say_skipped,
)
from batchq.journal.scripts import Call, Scripts, arguments
from batchq.prompt import Lane, Outcome, pack, unpack
from batchq.settings.record import Settings

__all__ = ["Store"]

_SCRIPTS = (
    "adopt advance answer aside begin bury cancel capture claim close epoch event groups keep "
    "let_go lines look note outside pause probe release renew requeue reuse revive_batch "
    "revive_task revoke seal sent settle spare split tell unclaim unpause wake"
).split()


class Store:
    """Where everything is kept, and how it is read and written."""

    def __init__(self, client: redis.Redis, config: Settings) -> None:
        # redis-py types a reply as everything that any server might answer.
        self.redis: Any = client
        self.config = config
        self.clock = Clock(self.redis, f"{{{config.key_prefix}}}")
        sources = {name: source_of(name, self.clock.prefix) for name in _SCRIPTS}
        self.scripts = Scripts(self.redis, sources)

    def key(self, *parts: str) -> str:
        return ":".join((self.clock.prefix, *parts))

    def task_key(self, task_id: str) -> str:
        return f"{self.clock.prefix}:task:{task_id}"

    def task_keys(self, custom_ids: Iterable[str]) -> list[str]:
        """The key of the task of each prompt."""
        return [self.task_key(parts_of(custom_id)[0]) for custom_id in custom_ids]

    def bodies_key(self, task_id: str) -> str:
        return f"{self.clock.prefix}:bodies:{task_id}"

    def task_lease_key(self, task_id: str) -> str:
        return self.key("lease", "task", task_id)

    def lane_keys(self, lane: Lane) -> list[str]:
        return [self.key("lane", lane.name), self.key("totals", lane.name)]

    def batch_keys(self, batch_id: str) -> list[str]:
        return [self.key("batch", batch_id), self.key("lines", batch_id)]

    def provider_key(self, provider_id: str) -> str:
        return self.key("theirs", provider_id)

    def run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return self.scripts.run(script, keys, args)

    def words(self, script: str, calls: Sequence[Call]) -> list[str]:
        """The word of each of these calls of one script, which are sent at once."""
        return [word.decode() for word in self.scripts.run_all(script, calls)]

    def word(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> str:
        word: bytes = self.run(script, keys, args)
        return word.decode()

    @property
    def database(self) -> int:
        """The number of the database that the journal is in."""
        return int(self.config.link.parameters.get("db") or 0)

    @property
    def keep_journal(self) -> int:
        return milliseconds(self.config.keep_journal)

    def now(self) -> int:
        """Milliseconds of Redis's own clock: worker clocks differ, this one is shared."""
        return self.clock.now()

    def facts(self) -> Facts:
        """What the server says of itself, to judge whether it is fit."""
        return look(self.redis)

    @cached_property
    def codec(self) -> Codec:
        # At its first use: beat, and who only looks at the status, need no keys.
        return codec_of(self.config)

    def write(self, data: bytes) -> bytes:
        return self.codec.seal(pack(data))

    def read(self, data: bytes, what: str) -> bytes:
        return opened(self.codec, data, what, unpack)

    def read_outcome(self, data: bytes, what: str) -> Outcome:
        return opened(self.codec, data, what, Outcome.from_bytes)

    def members(self, key: str, start: int, stop: int) -> list[bytes]:
        members: list[bytes] = self.redis.zrange(key, start, stop)
        return members

    def number(self, key: str) -> int | None:
        """A number that is good to know. One that cannot be read is forgotten."""
        try:
            value: bytes | None = self.redis.get(key)
            return None if value is None else int(value)
        except (ValueError, redis.ResponseError) as error:
            if isinstance(error, redis.ResponseError) and not is_rubbish(error):
                raise
            say_skipped(key, error)
            self.redis.delete(key)
            return None

    @contextmanager
    def to_look_at(self) -> Generator[None]:
        """A write that is only there to be looked at: a Redis whose memory is full goes without."""
        try:
            yield
        except redis.ResponseError as error:
            if not (is_full(error) or is_rubbish(error)):
                raise

    @contextmanager
    def only(self, key: str) -> Generator[Lease | None]:
        lease = Lease(key, secrets.token_hex(8))
        life = milliseconds(self.config.lease)
        taken = self.redis.set(lease.key, lease.token, nx=True, px=life)
        # It is our own where the answer to a first try was lost on its way.
        if not taken and self.redis.get(lease.key) != lease.token.encode():
            yield None
            return
        with self.held(lease, [lease.key]):
            yield lease

    @contextmanager
    def held(self, lease: Lease, keys: Sequence[str]) -> Generator[None]:
        try:
            with kept(self, lease, self.config.lease):
                yield
        finally:
            self.word("release", keys, arguments(token=lease.token))

    def renew(self, leases: Iterable[Lease], duration: timedelta) -> list[bool]:
        """Keep leases a while longer; returns for each whether it is still held."""
        calls: list[Call] = []
        for lease in leases:
            keys = [lease.key, lease.owner] if lease.owner else [lease.key]
            run = None
            if lease.run_of:
                keys.append(self.key("running"))
                run = f"{lease.token} {lease.run_of}"
            args = arguments(
                token=lease.token,
                lease=milliseconds(duration),
                run=run,
                keep=self.keep_journal,
            )
            calls.append((keys, args))
        return [word == "RENEWED" for word in self.words("renew", calls)]
