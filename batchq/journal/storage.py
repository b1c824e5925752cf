"""Where large bodies are kept outside of Redis: a directory, or whatever `fsspec` has a name for.

Names are ``folder/file``. A file is whole or it is not there, as far as anybody can tell who has
its name from the journal: that names it only once it is written.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from batchq.errors import ConfigurationError, StorageAway

if TYPE_CHECKING:
    from batchq.settings.record import Settings

__all__ = ["PART", "Storage", "storage_of"]

logger = logging.getLogger("batchq.health")

PART = ".part"
"""How the name of a file ends that is not written whole."""


class Storage(Protocol):
    """Files by name. All of it raises StorageAway where the storage cannot be used."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, and return when it is safe."""

    def read(self, name: str) -> bytes | None:
        """What a file holds; None where there is none of that name."""

    def has(self, name: str) -> bool: ...

    def delete(self, name: str) -> None:
        """Delete a file, if there is one."""

    def names(self, folder: str) -> Iterator[str]:
        """The names of the files in a folder, in no order."""
        ...


def storage_of(config: Settings) -> Storage | None:
    """The storage of these settings; None where there is none. Raises ConfigurationError where a
    package is missing.
    """
    where = config.large_bodies
    if where is None:
        return None
    if where.startswith("/"):
        return Directory(Path(where))
    parts = urlsplit(where)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Directory(Path(unquote(parts.path)))
    return Objects(where, config.shown_large_bodies)


class Directory:
    """A directory that all workers have: of one machine, or a network's."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, name: str, data: bytes) -> None:
        with self._away_without():
            path = self._root / name
            # Not the root: what is to be mounted there is not to be made by us beneath.
            path.parent.mkdir(mode=0o700, exist_ok=True)
            part = path.with_name(path.name + PART)
            with open(os.open(part, _ANEW, 0o600), "wb") as file:  # noqa: PTH123 by its descriptor, for its rights
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync(path.parent)

    def read(self, name: str) -> bytes | None:
        with self._away_without():
            try:
                return (self._root / name).read_bytes()
            except FileNotFoundError:
                return None

    def has(self, name: str) -> bool:
        with self._away_without():
            return (self._root / name).is_file()

    def delete(self, name: str) -> None:
        with self._away_without():
            (self._root / name).unlink(missing_ok=True)

    def names(self, folder: str) -> Iterator[str]:
        with self._away_without():
            if (self._root / folder).is_dir():
                with os.scandir(self._root / folder) as entries:
                    yield from (f"{folder}/{entry.name}" for entry in entries)

    @contextmanager
    def _away_without(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise StorageAway(str(self._root), error.strerror or type(error).__name__) from None


_ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def _sync(folder: Path) -> None:
    """The name of a new file is safe too, and not only what it holds."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Objects:
    """An object store, or another file system, by its URL. Whose it is, fsspec finds out by itself:
    from the environment, the machine's role, its own files of settings.
    """

    def __init__(self, url: str, shown: str) -> None:
        self._shown = shown
        try:
            core: Any = importlib.import_module("fsspec.core")
            # An instance of its own, for its connections are no other process's.
            self._fs, root = core.url_to_fs(url, skip_instance_cache=True)
        except (ImportError, ValueError) as error:
            raise ConfigurationError("batchq_large_bodies", shown, _missing(error)) from None
        self._root = str(root).rstrip("/")

    def write(self, name: str, data: bytes) -> None:
        with self._away_without():
            path = self._path(name)
            # A store of objects has no folders; what has some wants them made.
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, data)

    def read(self, name: str) -> bytes | None:
        with self._away_without():
            try:
                data: bytes = self._fs.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return data

    def has(self, name: str) -> bool:
        with self._away_without():
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self._path(name)))

    def delete(self, name: str) -> None:
        with self._away_without():
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def names(self, folder: str) -> Iterator[str]:
        for path in self._listed(self._path(folder)):
            yield f"{folder}/{path.rpartition('/')[2]}"

    def _listed(self, path: str) -> list[str]:
        with self._away_without():
            self._fs.invalidate_cache()
            try:
                return [str(one) for one in self._fs.ls(path, detail=False)]
            except FileNotFoundError:
                return []

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _away_without(self) -> Generator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 each store has errors of its own
            # Of another's error the class only: its words may repeat what is in the URL.
            words: Any = error.strerror if isinstance(error, OSError) else None
            raise StorageAway(self._shown, words or type(error).__name__) from None


def _missing(error: Exception) -> str:
    if isinstance(error, ImportError) and (error.name or "").startswith("fsspec"):
        return "the package is missing: pip install 'batchq[fsspec]'"
    # Words of fsspec, which name a package or a protocol.
    return f"fsspec cannot use this URL: {error}"
