"""All the parts of one emulator, put together."""

import hashlib
from typing import Any

from batchq.emulator.clock import Clock
from batchq.emulator.faults import Faults
from batchq.emulator.ledger import Ledger
from batchq.emulator.lifecycle import Lifecycle
from batchq.emulator.options import Options
from batchq.emulator.problems import bad_key
from batchq.emulator.records import Batch
from batchq.emulator.shapes import JsonObject
from batchq.emulator.store import Store
from batchq.emulator.upstream import Upstream
from batchq.emulator.views import batch_view, shown_faults
from batchq.emulator.webhooks import Webhooks


class Service:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.store = Store(options.data)
        self.clock = Clock(self.store.fact("clock_offset") or 0.0)
        self.ledger = Ledger(self.store.database)
        self.faults = Faults(self._faults_changed)
        self.upstream = (
            None
            if options.upstream is None
            else Upstream(
                options.upstream,
                key_env=options.upstream_key_env,
                concurrency=options.upstream_concurrency,
            )
        )
        if self.upstream is not None:
            self.upstream.check()
        self.webhooks = Webhooks(options, self.faults)
        self.webhooks.check()
        self.lifecycle = self._new_lifecycle()
        self._restore_faults()

    def _new_lifecycle(self) -> Lifecycle:
        return Lifecycle(
            self.options,
            clock=self.clock,
            store=self.store,
            ledger=self.ledger,
            faults=self.faults,
            upstream=self.upstream,
            webhooks=self.webhooks,
        )

    def _restore_faults(self) -> None:
        state = self.store.fact("faults")
        if state is not None:
            self.faults.restore(state)
        else:
            self._default_faults()

    def _default_faults(self) -> None:
        self.faults.clear()
        for name, chosen in self.options.faults.items():
            self.faults.arm(name, chosen)

    def _faults_changed(self, state: JsonObject) -> None:
        self.store.set_fact("faults", state)

    def start(self) -> None:
        """Go on with every batch that is not finished."""
        for batch in self.store.batches.values():
            if not batch.terminal:
                self.lifecycle.start(batch)

    async def stop(self) -> None:
        await self.lifecycle.stop()
        await self.webhooks.stop()
        self.store.close()

    async def reset(self) -> None:
        """As new: no files, no batches, an empty ledger, the faults of the start."""
        await self.lifecycle.stop()
        await self.webhooks.stop()
        self.webhooks.reset()
        self.store.clear()
        self.ledger.clear()
        self.clock.offset = 0.0
        self._default_faults()
        self.lifecycle = self._new_lifecycle()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.store.set_fact("clock_offset", self.clock.offset)

    def owner(self, key: str) -> str:
        """Whose files and batches a key opens; refuses a key that is not known."""
        known = self.options.api_keys
        if not key or (known and key not in known):
            raise bad_key(key)
        if not self.options.key_per_account:
            return ""
        return hashlib.sha256(key.encode()).hexdigest()[:16]

    def show(self, batch: Batch) -> JsonObject:
        """The batch as a client sees it now; faults that show in it are counted."""
        now = self.clock.now()
        for name in shown_faults(batch, now):
            if name not in batch.fired:
                batch.fired.append(name)
                self.faults.showed(name)
        return batch_view(batch, now)

    def ledger_view(self, *, summary: bool) -> JsonObject:
        batches: list[Any] = [
            {
                "id": batch.id,
                "status": batch.status,
                "model": batch.model,
                "endpoint": batch.endpoint,
                "input_file_id": batch.input_file_id,
                "created_at": batch.created_at,
                "metadata": batch.metadata,
                "lines": batch.lines,
                "ran": batch.ran,
                "faults": sorted(batch.faults),
            }
            for batch in self.store.batches.values()
        ]
        return {**self.ledger.view(summary=summary), "batches": batches}
