"""Takes batches through their states, on the emulator's clock.

One asyncio task drives one batch. Every state can be entered again after a restart, and works from
what the store says; all long work is done in short slices, so that calls are answered meanwhile.
"""

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import closing

from batchq.emulator.clock import Clock, Pace
from batchq.emulator.execution import CANCELLED, EXPIRED, Line, Mischief, unrun_row
from batchq.emulator.faults import Faults
from batchq.emulator.ledger import Ledger
from batchq.emulator.options import Options
from batchq.emulator.records import Batch, StoredFile
from batchq.emulator.results import Parts, Result, copy, skipped
from batchq.emulator.runner import Runner
from batchq.emulator.shapes import JsonObject
from batchq.emulator.store import Store
from batchq.emulator.upstream import Upstream
from batchq.emulator.validation import InvalidFile, Validation
from batchq.emulator.webhooks import Webhooks

logger = logging.getLogger(__name__)

RESULTS_LIVE = 30 * 86_400
STREAMS = ("output", "error")
RESHAPING = ("truncated_last_line", "no_trailing_newline", "blank_lines")


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
        self._runner = Runner(options, clock=clock, store=store, ledger=ledger, upstream=upstream)
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

    # Faults

    def _fault(self, batch: Batch, name: str) -> JsonObject | None:
        """The options of a fault this batch lives under. Its effect is counted once."""
        if name not in batch.faults:
            return None
        self._count(batch, name)
        options: JsonObject = batch.faults[name]
        return options

    def _count(self, batch: Batch, name: str) -> None:
        if name not in batch.fired:
            batch.fired.append(name)
            self._faults.showed(name)

    async def _stuck(self, batch: Batch, state: str) -> None:
        """Stay in this state as long as a fault says so."""
        name = f"stuck_{state}"
        while (
            batch.status == state
            and self._fault(batch, name) is not None
            and not self._faults.lifted(name)
        ):
            await self._clock.rest(None)

    # validating

    async def _validate(self, batch: Batch) -> None:
        checked = Validation(
            batch.endpoint, self._options.models, batch.azure, batch.faults, batch.fired
        )
        failure: InvalidFile | None = None
        try:
            await self._check(batch, checked)
        except InvalidFile as invalid:
            failure = invalid
        await self._until(batch, batch.created_at + self._options.validate_seconds)
        await self._stuck(batch, "validating")
        for name in ("model_not_found", "invalid_line", "input_file_lost"):
            if name in batch.fired:
                batch.fired.remove(name)
                self._count(batch, name)
        if batch.status != "validating":
            return
        batch.lines, batch.tokens = checked.lines, checked.tokens
        batch.model = None if failure is not None else checked.model
        if failure is None:
            failure = self._over_token_limit(batch)
        if failure is not None:
            self._fail(batch, failure)
        elif self._fault(batch, "batch_404") is not None:
            batch.status, batch.cancelled_at = "cancelled", self._clock.now()
        else:
            batch.status, batch.in_progress_at = "in_progress", self._clock.now()
            batch.total = checked.lines
        self._store.save(batch)

    async def _check(self, batch: Batch, checked: Validation) -> None:
        file = self._store.file(batch.input_file_id, now=self._clock.now(), owner=batch.owner)
        if file is None or file.purpose != "batch":
            raise InvalidFile(
                "invalid_request",
                f"The input file '{batch.input_file_id}' was not found, or is not of purpose "
                "'batch'.",
                "file_id",
            )
        checked.file(file.id)
        pace = Pace()
        with self._store.path(file.id).open("rb") as lines:
            for raw in lines:
                checked.line(raw.rstrip(b"\r\n"))
                await pace.breathe()
        checked.end()

    def _over_token_limit(self, batch: Batch) -> InvalidFile | None:
        options = self._fault(batch, "token_limit_exceeded")
        limit = self._token_limit(batch.model) if options is None else options["limit"]
        if limit is None:
            return None
        if options is None and self._enqueued(batch) <= limit:
            return None
        return InvalidFile(
            "token_limit_exceeded",
            f"Enqueued token limit reached for {batch.model} in organization org-emulator. "
            f"Limit: {limit:,} enqueued tokens. Please try again once some in_progress batches "
            "have been completed.",
        )

    def _token_limit(self, model: str | None) -> int | None:
        condition = self._faults.condition("token_limit")
        if condition is not None and condition["model"] in (None, model):
            self._faults.showed("token_limit")
            return int(condition["limit"])
        return self._options.token_limit

    def _enqueued(self, batch: Batch) -> int:
        """The prompt tokens queued for this batch's model, with its own."""
        others = self._store.batches.values()
        return batch.tokens + sum(
            other.tokens
            for other in others
            if not other.terminal
            and other is not batch
            and other.model == batch.model
            and other.owner == batch.owner
        )

    # in_progress

    async def _run(self, batch: Batch) -> None:
        with (
            self._store.path(batch.input_file_id).open("rb") as source,
            closing(Parts(self._store, batch)) as parts,
        ):
            lines = skipped(source, batch.ran)
            while batch.status == "in_progress":
                if batch.ran >= self._stop_at(batch):
                    await self._stopped(batch, parts)
                elif self._runner.expires(batch):
                    await self._expire(batch, parts)
                elif batch.ran < self._runner.due(batch):
                    await self._run_slice(batch, lines, parts)
                else:
                    await self._clock.rest(self._runner.next_moment(batch))

    def _fail(self, batch: Batch, failure: InvalidFile) -> None:
        batch.errors = [failure.view(azure=batch.azure)]
        batch.status, batch.failed_at = "failed", self._clock.now()

    def _stop_at(self, batch: Batch) -> int:
        """How many lines run until something happens: usually all."""
        shares = [
            batch.faults[name]["at"]
            for name in ("stuck_in_progress", "partial_expiry", "cancel_midway")
            if name in batch.faults and not (name[:5] == "stuck" and self._faults.lifted(name))
        ]
        return int(batch.total * min([1.0, *shares]))

    async def _stopped(self, batch: Batch, parts: Parts) -> None:
        stuck = "stuck_in_progress" in batch.faults
        if self._fault(batch, "partial_expiry") is not None:
            batch.expires_at = self._clock.now()
            await self._expire(batch, parts)
        elif self._fault(batch, "cancel_midway") is not None:
            self.cancel(batch)
        elif stuck and not self._faults.lifted("stuck_in_progress"):
            await self._stuck(batch, "in_progress")
        else:
            batch.status, batch.finalizing_at = "finalizing", self._clock.now()
            self._store.save(batch)

    async def _run_slice(self, batch: Batch, lines: Iterator[Line], parts: Parts) -> None:
        mischief = Mischief(batch.faults | self._no_credit(), set())
        size = min(self._runner.due(batch), self._stop_at(batch)) - batch.ran
        await self._runner.run_slice(batch, lines, parts, size=size, mischief=mischief)
        for name in mischief.fired:
            self._count(batch, name)
        await asyncio.sleep(0)

    def _no_credit(self) -> JsonObject:
        """Whether there is credit shows as the lines run, whatever it was at the create."""
        options = self._faults.condition("no_credit")
        return {} if options is None or options["at"] != "rows" else {"no_credit": options}

    async def _expire(self, batch: Batch, parts: Parts) -> None:
        await self._give_up(batch, parts, batch.ran, EXPIRED)
        self._end(batch, "expired", await self._results(batch))

    async def _give_up(
        self, batch: Batch, parts: Parts, position: int, reason: Mapping[str, str]
    ) -> None:
        """Write the rows of all lines from this position on, which will not run."""
        pace = Pace()
        with self._store.path(batch.input_file_id).open("rb") as source:
            for line in skipped(source, position):
                parts.error.write(unrun_row(line.custom_id, reason))
                await pace.breathe()
        parts.flush()

    # cancelling

    async def _cancel(self, batch: Batch) -> None:
        slow = self._fault(batch, "slow_cancelling")
        lasts = self._options.cancel_seconds if slow is None else slow["seconds"]
        await self._until(batch, (batch.cancelling_at or 0) + lasts)
        midway = batch.faults.get("cancel_midway")
        reset = self._fault(batch, "cancel_resets_counts") is not None
        withheld = reset or (midway is not None and not midway["partial"])
        if batch.total:
            with closing(Parts(self._store, batch)) as parts:
                if withheld:
                    parts.empty()
                await self._give_up(batch, parts, 0 if withheld else batch.ran, CANCELLED)
            if reset:
                batch.completed = batch.failed = 0
        self._end(batch, "cancelled", await self._results(batch))

    # finalizing

    async def _finalize(self, batch: Batch) -> None:
        await self._until(batch, (batch.finalizing_at or 0) + self._options.finalize_seconds)
        await self._stuck(batch, "finalizing")
        if batch.status != "finalizing":
            return
        results = await self._results(batch)
        if batch.status == "finalizing":
            self._end(batch, "completed", results)

    async def _results(self, batch: Batch) -> list[Result]:
        """Make the result files of the rows written so far. Nothing knows of them yet."""
        shuffled = self._faults.condition("shuffled") is not None and batch.total > 1
        results: list[Result] = []
        for stream in STREAMS:
            part = self._store.part(batch, stream)
            present = part.exists() and part.stat().st_size > 0
            if not present and self._fault(batch, "zero_byte_files") is None:
                continue
            file_id, place = self._store.new_upload()
            shuffle = random.Random(f"{batch.id}/{stream}") if shuffled else None
            mischief = {name for name in RESHAPING if self._fault(batch, name) is not None}
            await copy(part, place, shuffle, mischief)
            results.append(Result(stream, file_id, place))
            if shuffled:
                self._faults.showed("shuffled")
        return results

    def _end(self, batch: Batch, status: str, results: list[Result]) -> None:
        """The final state, with its files, in one transaction; only then the parts may go."""
        expired = self._fault(batch, "file_expired") is not None
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

    async def _until(self, batch: Batch, moment: float) -> None:
        """Wait for a moment, unless the batch leaves its state before."""
        state = batch.status
        while batch.status == state and self._clock.now() < moment:
            await self._clock.rest(moment)
