"""How a batch ends: with the files of the rows that were written, in one transaction."""

import random

from batchq.emulator.clock import Clock
from batchq.emulator.effects import Effects
from batchq.emulator.faults import Faults
from batchq.emulator.records import Batch, StoredFile
from batchq.emulator.results import Result, copy
from batchq.emulator.store import Store

RESULTS_LIVE = 30 * 86_400
STREAMS = ("output", "error")
RESHAPING = ("truncated_last_line", "no_trailing_newline", "blank_lines")


class Closing:
    def __init__(self, *, clock: Clock, store: Store, faults: Faults) -> None:
        self._clock = clock
        self._store = store
        self._faults = faults
        self._effects = Effects(faults)

    async def results(self, batch: Batch) -> list[Result]:
        """Make the result files of the rows written so far. Nothing knows of them yet."""
        shuffled = self._faults.condition("shuffled") is not None and batch.total > 1
        results: list[Result] = []
        for stream in STREAMS:
            part = self._store.part(batch, stream)
            present = part.exists() and part.stat().st_size > 0
            if not present and self._effects.of(batch, "zero_byte_files") is None:
                continue
            file_id, place = self._store.new_upload()
            shuffle = random.Random(f"{batch.id}/{stream}") if shuffled else None
            mischief = {name for name in RESHAPING if self._effects.of(batch, name) is not None}
            await copy(part, place, shuffle, mischief)
            results.append(Result(stream, file_id, place))
            if shuffled:
                self._faults.showed("shuffled")
        return results

    def end(self, batch: Batch, status: str, results: list[Result]) -> None:
        """The final state, with its files, in one transaction; only then the parts may go."""
        expired = self._effects.of(batch, "file_expired") is not None
        with self._store.transaction():
            for result in results:
                setattr(batch, f"{result.stream}_file_id", result.file_id)
                if not expired:
                    self._add_result(batch, result)
            batch.status = status
            setattr(batch, f"{status}_at", self._clock.now())
            self._store.save(batch)
        for stream in STREAMS:
            self._store.part(batch, stream).unlink(missing_ok=True)

    def _add_result(self, batch: Batch, result: Result) -> None:
        now = self._clock.now()
        lives = batch.output_expires_after
        file = StoredFile(
            id=result.file_id,
            filename=f"{batch.id}_{result.stream}.jsonl",
            purpose="batch_output",
            bytes=result.place.stat().st_size,
            created_at=now,
            expires_at=now + (RESULTS_LIVE if lives is None else lives),
            owner=batch.owner,
        )
        self._store.add_file(file, result.place)
