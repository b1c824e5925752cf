"""Large bodies: kept in a storage outside of Redis, where the journal says which file is whose.

A file is written before the journal names it, under a name that nothing else ever has. So one that
no task names a day after it was written is nobody's: whoever wrote it died, or could not delete it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cached_property
from urllib.parse import quote, unquote

import redis

from batchq.errors import BatchqError, BodyLost, ConfigurationError, JournalUnreadable, StorageAway
from batchq.journal.replies import chunks, milliseconds, to_dict
from batchq.journal.scripts import Call, arguments
from batchq.journal.storage import PART, Storage, storage_of
from batchq.journal.store import Store
from batchq.prompt import Prompt, split_id

__all__ = ["Bodies"]

logger = logging.getLogger("batchq.journal")

_MARK = b"@"
"""What begins so in the place of a body says where it lies; a body never does (see codec.py)."""

_LONGEST_NAME = 200
"""Bytes of a file's name. The body of a task with a longer id stays in Redis."""

_NOBODY_S = timedelta(days=1)
"""After which time a file that no task names is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """One file in the storage, as the journal names it. ``size`` and ``sha256`` are of what lies
    there: packed, and sealed where the journal is.
    """

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes) -> _Kept:
        return cls(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    @classmethod
    def from_bytes(cls, text: bytes) -> _Kept:
        """Raises ValueError, LookupError or TypeError."""
        known = json.loads(text.removeprefix(_MARK))
        return cls(name=known["name"], size=known["size"], sha256=known["sha256"])

    def to_bytes(self) -> bytes:
        return _MARK + json.dumps(asdict(self)).encode()

    def is_of(self, data: bytes) -> bool:
        return self == _Kept.of(self.name, data)


@dataclass(frozen=True, slots=True)
class _Named:
    """What the name of a file says: whose body it is, and when it was written."""

    name: str
    task_id: str
    number: int
    written_at: int

    @classmethod
    def new(cls, folder: str, prompt: Prompt, now: int) -> str | None:
        """A name for a prompt's body that no other has; None where it would be too long."""
        name = f"{quote(prompt.custom_id, safe='')}.{now}.{secrets.token_hex(8)}"
        return f"{folder}/{name}" if len(name) <= _LONGEST_NAME else None

    @classmethod
    def read(cls, name: str) -> _Named | None:
        """None where a name is none of ours."""
        parts = name.rpartition("/")[2].removesuffix(PART).rsplit(".", 2)
        whose = split_id(unquote(parts[0])) if len(parts) == 3 else None
        return cls(name, *whose, int(parts[1])) if whose and parts[1].isdecimal() else None


class Bodies:
    """Bodies, wherever they are kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key

    def read(self, value: bytes, what: str) -> bytes:
        """A body, from what stands in its place. Raises JournalUnreadable, StorageAway where it
        cannot be reached now, BodyLost where it never will be, KeyMissing.
        """
        return self._store.read(value if value[:1] != _MARK else self._fetched(value, what), what)

    def _fetched(self, value: bytes, what: str) -> bytes:
        try:
            kept = _Kept.from_bytes(value)
        except (ValueError, LookupError, TypeError):
            raise JournalUnreadable(what) from None
        storage = self._used_storage()
        data = storage.read(kept.name)
        where = f"{self._store.config.shown_large_bodies}/{kept.name}"
        if data is None:
            # Of a storage that is not mounted, or is another machine's own, each file is missing.
            self._shared_folder(storage)
            raise BodyLost(what, where, "it is not there any more")
        if not kept.is_of(data):
            raise BodyLost(what, where, "it is not what was written there")
        return data

    def _used_storage(self) -> Storage:
        if self._storage is None:
            why = "it is not set in this process, and bodies were kept there"
            raise StorageAway("that is not named", why)
        return self._storage

    @cached_property
    def _storage(self) -> Storage | None:
        # At its first use, as the keys are.
        return storage_of(self._store.config)

    @contextmanager
    def kept_outside(self, task_id: str, prompts: Sequence[Prompt]) -> Generator[dict[int, bytes]]:
        """What the journal is to have in the place of large bodies, by number. What it does not
        name at the end is deleted.
        """
        kept: dict[int, _Kept] = {}
        try:
            for prompt in prompts:
                if (one := self._put(prompt)) is not None:
                    kept[prompt.number] = one
            yield {number: one.to_bytes() for number, one in kept.items()}
        except (redis.ResponseError, BatchqError):
            # After another error what was sent may still be done: what is nobody's goes in a day.
            self._delete_unnamed(task_id, kept)
            raise
        self._delete_unnamed(task_id, kept)

    def _put(self, prompt: Prompt) -> _Kept | None:
        """Keep a body in the storage; None where it is to be kept in Redis."""
        if (
            self._store.config.large_bodies is None
            or len(prompt.body) < self._store.config.large_body_bytes
        ):
            return None
        storage = self._used_storage()
        name = _Named.new(self._folder, prompt, self._store.now())
        if name is None:
            return None
        data = self._store.write(prompt.body)
        storage.write(name, data)
        return _Kept.of(name, data)

    @cached_property
    def _folder(self) -> str:
        return self._shared_folder(self._used_storage())

    def _shared_folder(self, storage: Storage) -> str:
        """The folder of this journal, in a storage that is the one that the others use too.

        The first who uses it leaves a mark there, whose name is in the journal: who does not find
        it has another storage. Raises StorageAway.
        """
        key = self._key("epoch")
        known = to_dict(self._store.run("epoch", [key], arguments(name=secrets.token_hex(8))))
        folder, mark = known["id"].decode(), known.get("storage")
        if mark is None:
            fresh = f"shared-{secrets.token_hex(8)}"
            storage.write(f"{folder}/{fresh}", b"All workers of one journal find this file here.\n")
            self._redis.hsetnx(key, "storage", fresh)
            mark = self._redis.hget(key, "storage") or b""
        if not storage.has(f"{folder}/{mark.decode()}"):
            where = self._store.config.shown_large_bodies
            raise StorageAway(where, "it is not the one where other workers keep bodies")
        return folder

    def outside(self, task_id: str, numbers: Iterable[int] | None = None) -> list[_Kept]:
        """The files with bodies of a task, or of some of its calls."""
        if self._store.config.large_bodies is None:
            return []
        found = _kept_in(self._store.run("outside", *self._look_outside(task_id)))
        wanted = found if numbers is None else found.keys() & set(numbers)
        return [found[number] for number in wanted]

    def _look_outside(self, task_id: str) -> Call:
        return [self._store.bodies_key(task_id)], arguments(mark=_MARK.decode())

    def _delete_unnamed(self, task_id: str, kept: Mapping[int, _Kept]) -> None:
        if kept:
            try:
                named = self.outside(task_id)
            except redis.RedisError:
                return  # In a day.
            self.delete(one for one in kept.values() if one not in named)

    def delete(self, kept: Iterable[_Kept]) -> None:
        """Delete files that nobody needs any more. What cannot be deleted now is in a day."""
        try:
            for one in kept:
                self._used_storage().delete(one.name)
        except (StorageAway, ConfigurationError) as error:
            logger.warning(
                "a large body could not be deleted from the storage (%s); a later sweep deletes it",
                error,
                extra={"action": "sweep"},
            )

    @property
    def has_storage(self) -> bool:
        return self._store.config.large_bodies is not None

    def _sweep(self, storage: Storage, folder: str) -> int:
        until, deleted = self._store.now() - milliseconds(_NOBODY_S), 0
        for names in chunks(storage.names(folder)):
            read = [one for one in map(_Named.read, names) if one is not None]
            for name in self._unnamed([one for one in read if one.written_at < until]):
                storage.delete(name)
                deleted += 1
        return deleted

    def sweep(self) -> int:
        """Delete the files that are older than a day and named by no task; returns how many."""
        storage = self._storage
        if storage is None:
            return 0
        key = self._key("epoch")
        known = to_dict(self._store.run("epoch", [key], arguments(name=secrets.token_hex(8))))
        former = [name.removeprefix("was:") for name in known if name.startswith("was:")]
        return sum(self._sweep(storage, one) for one in (known["id"].decode(), *former))

    def _unnamed(self, files: Sequence[_Named]) -> Iterator[str]:
        calls = [self._look_outside(one.task_id) for one in files]
        for one, reply in zip(files, self._store.scripts.run_all("outside", calls), strict=True):
            kept = _kept_in(reply).get(one.number)
            if kept is None or kept.name != one.name:
                yield one.name

    def try_out(self) -> None:
        """Write, read and delete a file, as a body is. Raises StorageAway or ConfigurationError."""
        if self._store.config.large_bodies is not None:
            storage = self._used_storage()
            name = f"{self._shared_folder(storage)}/tried-{secrets.token_hex(8)}"
            storage.write(name, b"tried\n")
            storage.read(name)
            storage.delete(name)


def _kept_in(flat: Sequence[bytes]) -> dict[int, _Kept]:
    found: dict[int, _Kept] = {}
    for number, value in to_dict(flat).items():
        try:
            found[int(number)] = _Kept.from_bytes(value)
        except (ValueError, LookupError, TypeError):
            continue  # Somebody else has written there.
    return found
