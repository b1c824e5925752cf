"""The faults that batches live under: their options, and that each effect is counted once."""

from batchq.emulator.faults import Faults
from batchq.emulator.records import Batch
from batchq.emulator.shapes import JsonObject


class Effects:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def of(self, batch: Batch, name: str) -> JsonObject | None:
        """The options of a fault this batch lives under. Its effect is counted once."""
        if name not in batch.faults:
            return None
        self.count(batch, name)
        options: JsonObject = batch.faults[name]
        return options

    def count(self, batch: Batch, name: str) -> None:
        if name not in batch.fired:
            batch.fired.append(name)
            self._faults.showed(name)

    def holds(self, batch: Batch, name: str) -> bool:
        """Whether a batch is still kept in a state by this fault."""
        return self.of(batch, name) is not None and not self._faults.lifted(name)
