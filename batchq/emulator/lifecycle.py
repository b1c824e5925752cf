"""Takes batches through their states, on the emulator's clock.

One asyncio task drives one batch. Every state can be entered again after a restart, and works from
what the store says; all long work is done in short slices, so that calls are answered meanwhile.
"""

import asyncio
import logging
from contextlib import closing

from batchq.emulator.checking import Checking
from batchq.emulator.clock import Clock
from batchq.emulator.closing import Closing
from batchq.emulator.effects import Effects
from batchq.emulator.execution import CANCELLED, EXPIRED
from batchq.emulator.faults import Faults
from batchq.emulator.ledger import Ledger
from batchq.emulator.options import Options
from batchq.emulator.records import Batch
from batchq.emulator.results import Parts, give_up, skipped
from batchq.emulator.runner import Runner
from batchq.emulator.store import Store
from batchq.emulator.upstream import Upstream
from batchq.emulator.validation import InvalidFile
from batchq.emulator.webhooks import Webhooks

logger = logging.getLogger(__name__)


class Lifecycle:
    def __init__(
        self,
        options: Options,
        *,
        clock: Clock,
        store: Store,
        ledger: Ledger,
        faults: Faults,
        upstream: Upstream | None,
        webhooks: Webhooks,
    ) -> None:
        self._options = options
        self._webhooks = webhooks
        self._clock = clock
        self._store = store
        self._faults = faults
        self._effects = Effects(faults)
        self._checking = Checking(options, clock=clock, store=store, faults=faults)
        self._runner = Runner(
            options, clock=clock, store=store, ledger=ledger, faults=faults, upstream=upstream
        )
        self._closing = Closing(clock=clock, store=store, faults=faults)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, batch: Batch) -> None:
        """Drive this batch from where it is."""
        task = asyncio.create_task(self._drive(batch), name=batch.id)
        self._tasks[batch.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(batch.id, None))

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cancel(self, batch: Batch) -> None:
        """Someone asked for a cancel: of us, or of the batch behind the user's back."""
        batch.status = "cancelling"
        batch.cancelling_at = self._clock.now()
        self._store.save(batch)
        self._clock.stir()

    async def _drive(self, batch: Batch) -> None:
        try:
            while not batch.terminal:
                await self._step(batch)
        except Exception as error:
            # A batch that nobody drives any more must not look as if it went on.
            logger.exception("the emulator cannot go on with %s", batch.id)
            self._fail(batch, InvalidFile("emulator_error", f"The emulator failed: {error!r}"))
            self._store.save(batch)
        self._webhooks.announce(batch)

    async def _step(self, batch: Batch) -> None:
        match batch.status:
            case "validating":
                await self._validate(batch)
            case "in_progress":
                await self._run(batch)
            case "finalizing":
                await self._finalize(batch)
            case _:
                await self._cancel(batch)

    async def _stuck(self, batch: Batch, state: str) -> None:
        """Stay in this state as long as a fault says so."""
        name = f"stuck_{state}"
        while batch.status == state and self._effects.holds(batch, name):
            await self._clock.rest(None)

    # validating

    async def _validate(self, batch: Batch) -> None:
        checked, failure = await self._checking.read(batch)
        await self._until(batch, batch.created_at + self._options.validate_seconds)
        await self._stuck(batch, "validating")
        for name in ("model_not_found", "invalid_line", "input_file_lost"):
            if name in batch.fired:
                batch.fired.remove(name)
                self._effects.count(batch, name)
        if batch.status != "validating":
            return
        batch.lines, batch.tokens = checked.lines, checked.tokens
        batch.model = None if failure is not None else checked.model
        if failure is None:
            failure = self._checking.over_token_limit(batch)
        if failure is not None:
            self._fail(batch, failure)
        elif self._effects.of(batch, "batch_404") is not None:
            batch.status, batch.cancelled_at = "cancelled", self._clock.now()
        else:
            batch.status, batch.in_progress_at = "in_progress", self._clock.now()
            batch.total = checked.lines
        self._store.save(batch)

    # in_progress

    async def _run(self, batch: Batch) -> None:
        with (
            self._store.path(batch.input_file_id).open("rb") as source,
            closing(Parts(self._store, batch)) as parts,
        ):
            lines = skipped(source, batch.ran)
            while batch.status == "in_progress":
                if batch.ran >= self._runner.stop_at(batch):
                    await self._stopped(batch, parts)
                elif self._runner.expires(batch):
                    await self._expire(batch, parts)
                elif batch.ran < self._runner.due(batch):
                    await self._runner.run_slice(batch, lines, parts)
                else:
                    await self._clock.rest(self._runner.next_moment(batch))

    def _fail(self, batch: Batch, failure: InvalidFile) -> None:
        batch.errors = [failure.view(azure=batch.azure)]
        batch.status, batch.failed_at = "failed", self._clock.now()

    async def _stopped(self, batch: Batch, parts: Parts) -> None:
        stuck = "stuck_in_progress" in batch.faults
        if self._effects.of(batch, "partial_expiry") is not None:
            batch.expires_at = self._clock.now()
            await self._expire(batch, parts)
        elif self._effects.of(batch, "cancel_midway") is not None:
            self.cancel(batch)
        elif stuck and not self._faults.lifted("stuck_in_progress"):
            await self._stuck(batch, "in_progress")
        else:
            batch.status, batch.finalizing_at = "finalizing", self._clock.now()
            self._store.save(batch)

    async def _expire(self, batch: Batch, parts: Parts) -> None:
        await give_up(self._store, batch, parts, batch.ran, EXPIRED)
        self._closing.end(batch, "expired", await self._closing.results(batch))

    # cancelling

    async def _cancel(self, batch: Batch) -> None:
        slow = self._effects.of(batch, "slow_cancelling")
        lasts = self._options.cancel_seconds if slow is None else slow["seconds"]
        await self._until(batch, (batch.cancelling_at or 0) + lasts)
        midway = batch.faults.get("cancel_midway")
        reset = self._effects.of(batch, "cancel_resets_counts") is not None
        withheld = reset or (midway is not None and not midway["partial"])
        if batch.total:
            with closing(Parts(self._store, batch)) as parts:
                if withheld:
                    parts.empty()
                await give_up(self._store, batch, parts, 0 if withheld else batch.ran, CANCELLED)
            if reset:
                batch.completed = batch.failed = 0
        self._closing.end(batch, "cancelled", await self._closing.results(batch))

    # finalizing

    async def _finalize(self, batch: Batch) -> None:
        await self._until(batch, (batch.finalizing_at or 0) + self._options.finalize_seconds)
        await self._stuck(batch, "finalizing")
        if batch.status != "finalizing":
            return
        results = await self._closing.results(batch)
        if batch.status == "finalizing":
            self._closing.end(batch, "completed", results)

    async def _until(self, batch: Batch, moment: float) -> None:
        """Wait for a moment, unless the batch leaves its state before."""
        state = batch.status
        while batch.status == state and self._clock.now() < moment:
            await self._clock.rest(moment)
