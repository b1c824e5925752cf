"""Which journal this is, and what one that was lost has left at the provider."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from batchq.journal.lease import Lease
from batchq.journal.records import (
    Epoch,
    Search,
)
from batchq.journal.replies import (
    chunks,
    count_of,
    fingerprint_in,
    parts_of,
    replies_of,
)
from batchq.journal.scripts import Call, arguments, texts
from batchq.journal.store import Store
from batchq.prompt import Lane, Outcome

__all__ = ["KNOWN_EPOCHS", "Adoption", "after_fork"]

KNOWN_EPOCHS: dict[tuple[str, str], str] = {}
"""The journals that this process knows. What is forked from it knows them too."""

_known = threading.Lock()


def after_fork() -> None:
    """A thread that is not in this process may have held it."""
    global _known  # noqa: PLW0603
    _known = threading.Lock()


class Adoption:
    """The epoch, and the answers that were paid for before it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key

    def epoch(self) -> Epoch:
        """Which journal this is; one that has forgotten its name has lost all it knew."""
        where = (self._store.config.redis_url, self._store.config.key_prefix)
        before = KNOWN_EPOCHS.get(where, "")
        fields: dict[bytes, bytes] = self._redis.hgetall(self._key("epoch"))
        if b"id" not in fields or before not in ("", fields[b"id"].decode()):
            flat = self._store.run(
                "epoch",
                [self._key("epoch")],
                arguments(name=secrets.token_hex(8), before=before or None),
            )
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
        now = fields[b"id"].decode()
        with _known:
            # Another thread may have been first, and may know a later one than this one read.
            if first := KNOWN_EPOCHS.get(where, "") == before:
                KNOWN_EPOCHS[where] = now
        former = {
            name.decode().removeprefix("was:"): count_of(value)
            for name, value in fields.items()
            if name.startswith(b"was:")
        }
        return Epoch(id=now, former=former, lost=first and before not in ("", now))

    def start_of_server(self) -> str:
        """Tells one start of the server from the next; empty where it does not say."""
        try:
            return str(self._redis.info("server").get("run_id", ""))
        except redis.ResponseError:
            return ""

    def search(self, account: str) -> Search:
        of, looks, at = self._redis.hmget(self._key("searched", account), "of", "looks", "at")
        return Search(of=(of or b"").decode(), looks=count_of(looks), at=count_of(at))

    def note_search(self, account: str, search: Search) -> None:
        key = self._key("searched", account)
        fields = {"of": search.of, "looks": search.looks, "at": search.at}
        pipe = self._redis.pipeline()
        pipe.hset(key, mapping=fields)
        pipe.pexpire(key, self._store.keep_journal)
        pipe.execute()

    @contextmanager
    def search_lease(self, account: str) -> Generator[Lease | None]:
        """Hold the only right to look through an account, or get None where another has it."""
        with self._store.only(self._key("lease", "search", account)) as lease:
            yield lease

    def note_lines(self, batch_id: str, lane: Lane, lines: Iterable[tuple[str, str]]) -> None:
        """Write down what a batch's lines (custom id, fingerprint) ask, before it is adopted."""
        for some in chunks(lines):
            pipe = self._redis.pipeline(transaction=False)
            for custom_id, fingerprint in some:
                key = self._found(lane, fingerprint)
                pipe.sadd(key, f"{batch_id}|{custom_id}")
                pipe.pexpire(key, self._store.keep_journal)
            pipe.execute()

    def _found(self, lane: Lane, fingerprint: str) -> str:
        digest = hashlib.sha256(f"{lane.name}\n{fingerprint}".encode()).hexdigest()
        return self._key("found", digest[:32])

    def adopt(self, batch_id: str, lane: Lane, **fields: Any) -> bool:
        """Write down a batch of ours that the journal has lost. False where it knows it."""
        keys = [
            self._store.batch_keys(batch_id)[0],
            self._key("batches"),
            self._key("adopted"),
        ]
        if provider_id := fields.get("provider_id"):
            keys.append(self._store.provider_key(provider_id))
        known = {"lane": lane.name, "adopted": self._store.now(), **fields}
        args = arguments(batch=batch_id, keep=self._store.keep_journal, fields=texts(known))
        return self._store.word("adopt", keys, args) == "ADOPTED"

    def has_adopted(self) -> bool:
        """True where there may be lines of adopted batches that nobody has asked for yet."""
        return bool(self._redis.exists(self._key("adopted")))

    def reuse(self, prompts: Sequence[tuple[str, Lane, str]]) -> list[str]:
        """Let prompts in their lanes (custom id, lane, fingerprint) take the places of lines of
        adopted batches that ask the same; returns the tasks that have all of their answers now.
        """
        ready: list[str] = []
        for some in chunks(prompts):
            pipe = self._redis.pipeline(transaction=False)
            for _, lane, fingerprint in some:
                pipe.smembers(self._found(lane, fingerprint))
            for (custom_id, lane, fingerprint), lines in zip(some, replies_of(pipe), strict=True):
                if not isinstance(lines, Exception) and lines:
                    ready += self._reuse(custom_id, lane, fingerprint, sorted(lines))
        return ready

    def _reuse(self, custom_id: str, lane: Lane, fingerprint: str, lines: list[bytes]) -> list[str]:
        task_id, number = parts_of(custom_id)
        for member in lines:
            batch_id, _, line_id = member.decode().partition("|")
            batch, prompts = self._store.batch_keys(batch_id)
            keys = [self._store.task_key(task_id)]
            keys += [self._key(name) for name in ("waiting", "resuming", "counters")]
            keys += [
                *self._store.lane_keys(lane),
                self._key("lanes"),
                self._found(lane, fingerprint),
                batch,
            ]
            keys += [
                self._key("spared", batch_id),
                self._key("takers", batch_id),
                prompts,
            ]
            args = arguments(
                task=task_id,
                number=str(number),
                custom_id=custom_id,
                lane=lane.name,
                member=member.decode(),
                batch=batch_id,
                line=line_id,
                keep=self._store.keep_journal,
            )
            word = self._store.word("reuse", keys, args)
            if word != "GONE":
                return [task_id] if word == "READY" else []
        return []

    def reuse_before(self, lane: Lane, custom_ids: Sequence[str]) -> None:
        """Let prompts that are about to be sealed take the places of equal lines first.

        Rescue sends the tasks on that have all of their answers by it.
        """
        if not custom_ids or not self.has_adopted():
            return
        pipe = self._redis.pipeline(transaction=False)
        for task_id, number in map(parts_of, custom_ids):
            pipe.hget(self._store.task_key(task_id), f"{number}:record")
        asked = [
            (custom_id, lane, fingerprint_in(record))
            for custom_id, record in zip(custom_ids, replies_of(pipe), strict=True)
            if isinstance(record, bytes)
        ]
        self.reuse(asked)

    def spare(self, batch_id: str, outcomes: Sequence[tuple[str, Outcome]]) -> list[str | None]:
        """Keep answers of an adopted batch for prompts to come; where a prompt has taken a line's
        place already, its custom id is returned for that line, and nothing is kept.
        """
        keys = [self._key("spared", batch_id), self._key("takers", batch_id)]
        kept = ((one, self._store.codec.seal(outcome.to_bytes())) for one, outcome in outcomes)
        calls: list[Call] = [
            (keys, arguments(outcome, line=line, keep=self._store.keep_journal))
            for line, outcome in kept
        ]
        words = self._store.words("spare", calls)
        return [None if word == "SPARED" else word for word in words]

    def takers(self, batch_id: str) -> dict[str, str]:
        """The prompts that took the places of an adopted batch's lines, by the line's custom id."""
        fields: dict[bytes, bytes] = self._redis.hgetall(self._key("takers", batch_id))
        return {line_id.decode(): custom_id.decode() for line_id, custom_id in fields.items()}

    def shut(self, batch_id: str) -> None:
        """Let no more prompts wait for an adopted batch: what it has is read."""
        self._redis.hset(self._store.batch_keys(batch_id)[0], "shut", 1)
