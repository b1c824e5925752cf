"""Files, batches and everything else that outlives a request, on disk.

One SQLite database for the records and one directory for the bytes. What one `transaction` writes
is there entirely or not at all after a kill -9. (A power cut is out of scope: nothing is synced.)
"""

import fcntl
import json
import re
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batchq.emulator.records import Batch, StoredFile
from batchq.emulator.shapes import identifier

FILE_ID = re.compile(r"file-[0-9a-f]+")
SCHEMA = """
CREATE TABLE IF NOT EXISTS files (id TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS batches (id TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
"""


class Store:
    """With a directory, its content survives the process; without, it ends with the process."""

    def __init__(self, directory: Path | None) -> None:
        self._temporary = (
            tempfile.TemporaryDirectory(prefix="batchq-emulator-") if directory is None else None
        )
        self.directory = directory or Path(self._temporary.name if self._temporary else "")
        self._blobs = self.directory / "files"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        self.database = sqlite3.connect(self.directory / "emulator.sqlite", isolation_level=None)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=OFF")
        self.database.executescript(SCHEMA)
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, Batch] = {}
        self._load()

    def _take_lock(self) -> Any:
        lock = (self.directory / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SystemExit(
                f"{self.directory} is in use by another emulator: give each its own --data"
            ) from None
        return lock

    def _load(self) -> None:
        for leftover in self._blobs.glob("*.upload"):
            leftover.unlink()
        for (document,) in self.database.execute("SELECT document FROM files ORDER BY rowid"):
            file = StoredFile.load(json.loads(document))
            self.files[file.id] = file
        for (document,) in self.database.execute("SELECT document FROM batches ORDER BY rowid"):
            batch = Batch.load(json.loads(document))
            self.batches[batch.id] = batch
            if batch.terminal:
                self.part(batch, "output").unlink(missing_ok=True)
                self.part(batch, "error").unlink(missing_ok=True)

    def close(self) -> None:
        self.database.close()
        self._lock.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def clear(self) -> None:
        with self.transaction():
            for table in ("files", "batches", "facts"):
                self.database.execute(f"DELETE FROM {table}")
        self.files.clear()
        self.batches.clear()
        for blob in self._blobs.iterdir():
            blob.unlink()

    @contextmanager
    def transaction(self) -> Generator[None]:
        self.database.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")

    # Files

    def new_upload(self) -> tuple[str, Path]:
        """An id, and the place where its bytes go until `add_file` accepts them."""
        file_id = identifier("file-", 24)
        return file_id, self._blobs / f"{file_id}.upload"

    def path(self, file_id: str) -> Path:
        return self._blobs / file_id

    def add_file(self, file: StoredFile, content: Path) -> None:
        content.rename(self.path(file.id))
        self.files[file.id] = file
        self._put("files", file.id, file.document())

    def remove_file(self, file_id: str) -> None:
        self.files.pop(file_id, None)
        self.database.execute("DELETE FROM files WHERE id = ?", (file_id,))
        self._drop_bytes(file_id)

    def _drop_bytes(self, file_id: str) -> None:
        """Remove the bytes of a file, unless somebody needs them: a batch reads to its end."""
        needed = file_id in self.files or any(
            not batch.terminal and batch.input_file_id == file_id for batch in self.batches.values()
        )
        # A batch may name any text as its file, so the text is not trusted to be a name.
        if not needed and FILE_ID.fullmatch(file_id):
            self.path(file_id).unlink(missing_ok=True)

    def file(self, file_id: str, *, now: float, owner: str) -> StoredFile | None:
        """The file, unless it is unknown, someone else's, or has expired."""
        file = self.files.get(file_id)
        if file is not None and file.expires_at <= now:
            self.remove_file(file_id)
            return None
        return file if file is not None and file.owner == owner else None

    # Batches

    def part(self, batch: Batch, stream: str) -> Path:
        """Where the rows of a running batch go: stream is `output` or `error`."""
        return self._blobs / f"{batch.id}.{stream}"

    def save(self, batch: Batch) -> None:
        self.batches[batch.id] = batch
        self._put("batches", batch.id, batch.document())
        if batch.terminal:
            self._drop_bytes(batch.input_file_id)

    # Facts: the clock's offset, the faults, counters

    def fact(self, name: str) -> Any:
        row = self.database.execute("SELECT document FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_fact(self, name: str, value: Any) -> None:
        self._put("facts", name, value)

    def _put(self, table: str, key: str, value: Any) -> None:
        column = "name" if table == "facts" else "id"
        self.database.execute(
            f"INSERT INTO {table} ({column}, document) VALUES (?, ?) "
            f"ON CONFLICT ({column}) DO UPDATE SET document = excluded.document",
            (key, json.dumps(value)),
        )
