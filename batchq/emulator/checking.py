"""What a batch is held against while it is validated: its file, and the tokens that are queued."""

from batchq.emulator.clock import Clock, Pace
from batchq.emulator.effects import Effects
from batchq.emulator.faults import Faults
from batchq.emulator.options import Options
from batchq.emulator.records import Batch
from batchq.emulator.store import Store
from batchq.emulator.validation import InvalidFile, Validation


class Checking:
    def __init__(self, options: Options, *, clock: Clock, store: Store, faults: Faults) -> None:
        self._options = options
        self._clock = clock
        self._store = store
        self._faults = faults
        self._effects = Effects(faults)

    async def read(self, batch: Batch) -> tuple[Validation, InvalidFile | None]:
        """What is in the input file, and what is wrong with it, if anything is."""
        checked = Validation(
            batch.endpoint, self._options.models, batch.azure, batch.faults, batch.fired
        )
        try:
            await self._check(batch, checked)
        except InvalidFile as invalid:
            return checked, invalid
        return checked, None

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

    def over_token_limit(self, batch: Batch) -> InvalidFile | None:
        """Why there is no room for a batch that is valid; None where there is."""
        options = self._effects.of(batch, "token_limit_exceeded")
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
