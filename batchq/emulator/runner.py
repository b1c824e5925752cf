"""Runs the lines of batches: which are due, what they answer, and how that is remembered."""

import asyncio
from collections.abc import Iterator

from batchq.emulator.clock import Clock, Pace
from batchq.emulator.effects import Effects
from batchq.emulator.execution import Line, Mischief, Ran, Reply, reply_to, run
from batchq.emulator.faults import Faults
from batchq.emulator.ledger import Ledger
from batchq.emulator.options import Options
from batchq.emulator.records import Batch
from batchq.emulator.results import Parts
from batchq.emulator.shapes import JsonObject
from batchq.emulator.store import Store
from batchq.emulator.upstream import Upstream


class Runner:
    def __init__(
        self,
        options: Options,
        *,
        clock: Clock,
        store: Store,
        ledger: Ledger,
        faults: Faults,
        upstream: Upstream | None,
    ) -> None:
        self._options = options
        self._clock = clock
        self._store = store
        self._ledger = ledger
        self._faults = faults
        self._effects = Effects(faults)
        self._upstream = upstream

    def expires(self, batch: Batch) -> bool:
        """Whether the window has ended. Azure has a target of 24 h, and no end."""
        if batch.azure or self._clock.now() < batch.expires_at:
            return False
        # What was due inside the window runs, even if the clock was moved past it in one leap. An
        # upstream has a speed of its own, so there the end is the end.
        return self._upstream is not None or batch.ran >= self.due(batch)

    def due(self, batch: Batch) -> int:
        """How many lines should have run by now."""
        spread = self._options.run_seconds
        now = self._clock.now() if batch.azure else min(self._clock.now(), batch.expires_at)
        elapsed = now - (batch.in_progress_at or 0)
        if elapsed < 0 or spread == 0:
            return batch.total if spread == 0 else 0
        return min(batch.total, int(batch.total * elapsed / spread))

    def next_moment(self, batch: Batch) -> float:
        """When the next line is due, but at least a slice later; never after the window's end."""
        spread = self._options.run_seconds
        due = (batch.in_progress_at or 0) + spread * (batch.ran + 1) / max(1, batch.total)
        moment = max(due + 0.001, self._clock.now() + 0.01)
        return moment if batch.azure else min(moment, batch.expires_at)

    def stop_at(self, batch: Batch) -> int:
        """How many lines run until something happens: usually all."""
        shares = [
            batch.faults[name]["at"]
            for name in ("stuck_in_progress", "partial_expiry", "cancel_midway")
            if name in batch.faults and not (name[:5] == "stuck" and self._faults.lifted(name))
        ]
        return int(batch.total * min([1.0, *shares]))

    async def run_slice(self, batch: Batch, lines: Iterator[Line], parts: Parts) -> None:
        """Run those that are due for a few milliseconds, and bill and save them at once."""
        mischief = Mischief(batch.faults | self._no_credit(), set())
        size = min(self.due(batch), self.stop_at(batch)) - batch.ran
        if self._upstream is not None:
            ran = await self._run_upstream(self._upstream, batch, lines, size, mischief)
        else:
            ran = self._run_here(batch, lines, size, mischief)
        # Rows first, then the transaction: if we die between them, the rows are cut off again
        # (they lie behind the sizes saved) and the lines run again, unbilled until then.
        parts.write(ran)
        with self._store.transaction():
            self._ledger.record_lines(one.entry for one in ran)
            tally(batch, ran)
            self._store.save(batch)
        for name in mischief.fired:
            self._effects.count(batch, name)
        await asyncio.sleep(0)

    def _no_credit(self) -> JsonObject:
        """Whether there is credit shows as the lines run, whatever it was at the create."""
        options = self._faults.condition("no_credit")
        return {} if options is None or options["at"] != "rows" else {"no_credit": options}

    def _run_here(
        self, batch: Batch, lines: Iterator[Line], size: int, mischief: Mischief
    ) -> list[Ran]:
        pace, created, ran = Pace(), int(self._clock.now()), list[Ran]()
        for line in lines:
            reply = mischief.replacement(line)
            if reply is None:
                reply = reply_to(batch.endpoint, line.body, created)
            ran.append(run(batch, line, reply, mischief))
            if len(ran) >= size or pace.spent:
                break
        return ran

    async def _run_upstream(
        self,
        upstream: Upstream,
        batch: Batch,
        lines: Iterator[Line],
        size: int,
        mischief: Mischief,
    ) -> list[Ran]:
        """Some lines at once, each by a call. Bounded, so that a kill repeats only these."""
        chunk: list[Line] = []
        for line in lines:
            chunk.append(line)
            if len(chunk) >= min(size, upstream.concurrency):
                break

        async def reply(line: Line) -> Reply:
            return mischief.replacement(line) or await upstream.reply_to(batch.endpoint, line.body)

        replies = await asyncio.gather(*map(reply, chunk))
        pairs = zip(chunk, replies, strict=True)
        return [run(batch, line, answered, mischief) for line, answered in pairs]


def tally(batch: Batch, ran: list[Ran]) -> None:
    """Move the batch behind the lines that ran."""
    batch.ran += len(ran)
    for one in ran:
        batch.completed += one.completed
        batch.failed += not one.completed
        batch.output_bytes += len(one.output)
        batch.error_bytes += len(one.error)
        usage = one.entry.usage
        batch.input_tokens += usage.input_tokens
        batch.cached_tokens += usage.cached_tokens
        batch.output_tokens += usage.output_tokens
