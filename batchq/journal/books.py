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
    left_out,
    milliseconds,
    opened,
)
from batchq.journal.scripts import Call, Scripts
from batchq.prompt import Lane, Outcome, pack, unpack
from batchq.settings.record import Settings

__all__ = ["Books"]

_SCRIPTS = (
    "advance adopt answer aside begin bury cancel capture claim close drop epoch event keep note "
    "outside pause probe release renew requeue reuse revive revoke seal sent settle spare split "
    "tell unclaim unpause wake"
).split()


class Books:
    """Where everything is kept, and how it is read and written."""

    def __init__(self, client: redis.Redis, config: Settings) -> None:
        # redis-py types a reply as everything that any server might answer.
        self._redis: Any = client
        self._config = config
        self.clock = Clock(self._redis, f"{{{config.key_prefix}}}")
        sources = {name: source_of(name, self.clock.prefix) for name in _SCRIPTS}
        self._scripts = Scripts(self._redis, sources)

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

    def _theirs(self, provider_id: str) -> str:
        return self.key("theirs", provider_id)

    def _run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return self._scripts.run(script, keys, args)

    def _words(self, script: str, calls: Sequence[Call]) -> list[str]:
        """The word of each of these calls of one script, which are sent at once."""
        return [word.decode() for word in self._scripts.run_all(script, calls)]

    def _word(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> str:
        word: bytes = self._run(script, keys, args)
        return word.decode()

    @property
    def _keep_journal(self) -> int:
        return milliseconds(self._config.keep_journal)

    def now(self) -> int:
        """Milliseconds of Redis's own clock: worker clocks differ, this one is shared."""
        return self.clock.now()

    def facts(self) -> Facts:
        """What the server says of itself, to judge whether it is fit."""
        return look(self._redis)

    @cached_property
    def _codec(self) -> Codec:
        # At its first use: beat, and who only looks at the status, need no keys.
        return codec_of(self._config)

    def _write(self, data: bytes) -> bytes:
        return self._codec.seal(pack(data))

    def _read(self, data: bytes, what: str) -> bytes:
        return opened(self._codec, data, what, unpack)

    def _outcome(self, data: bytes, what: str) -> Outcome:
        return opened(self._codec, data, what, Outcome.from_bytes)

    def _range(self, key: str, start: int, stop: int) -> list[bytes]:
        members: list[bytes] = self._redis.zrange(key, start, stop)
        return members

    def _number(self, key: str) -> int | None:
        """A number that is good to know. One that cannot be read is forgotten."""
        try:
            value: bytes | None = self._redis.get(key)
            return None if value is None else int(value)
        except (ValueError, redis.ResponseError) as error:
            if isinstance(error, redis.ResponseError) and not is_rubbish(error):
                raise
            left_out(key, error)
            self._redis.delete(key)
            return None

    @contextmanager
    def _to_look_at(self) -> Generator[None]:
        """A write that is only there to be looked at: a Redis whose memory is full goes without."""
        try:
            yield
        except redis.ResponseError as error:
            if not (is_full(error) or is_rubbish(error)):
                raise

    @contextmanager
    def _only(self, key: str) -> Generator[Lease | None]:
        lease = Lease(key, secrets.token_hex(8))
        life = milliseconds(self._config.lease)
        taken = self._redis.set(lease.key, lease.token, nx=True, px=life)
        # It is our own where the answer to a first try was lost on its way.
        if not taken and self._redis.get(lease.key) != lease.token.encode():
            yield None
            return
        with self._held(lease, [lease.key]):
            yield lease

    @contextmanager
    def _held(self, lease: Lease, keys: Sequence[str]) -> Generator[None]:
        try:
            with kept(self, lease, self._config.lease):
                yield
        finally:
            self._word("release", keys, [lease.token])

    def renew(self, leases: Iterable[Lease], duration: timedelta) -> list[bool]:
        """Keep leases a while longer; returns for each whether it is still held."""
        calls: list[Call] = []
        for lease in leases:
            keys = [lease.key, lease.owner] if lease.owner else [lease.key]
            args: list[Any] = [lease.token, milliseconds(duration)]
            if lease.run_of:
                keys.append(self.key("running"))
                args += [f"{lease.token} {lease.run_of}", self._keep_journal]
            calls.append((keys, args))
        return [word == "RENEWED" for word in self._words("renew", calls)]
