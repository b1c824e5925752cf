"""/v1/batches/{id}, and its cancel"""

from typing import ClassVar

from batchq.emulator.handlers.api import ApiHandler
from batchq.emulator.problems import Refusal, no_such_batch
from batchq.emulator.records import Batch
from batchq.emulator.views import vanished


class OneBatchHandler(ApiHandler):
    def find(self, batch_id: str) -> Batch:
        batch = self.service.store.batches.get(batch_id)
        if batch is None or batch.owner != self.owner:
            raise no_such_batch(batch_id)
        if vanished(batch):
            self.service.show(batch)  # counts the fault
            raise no_such_batch(batch_id)
        return batch


class OneBatch(OneBatchHandler):
    calls: ClassVar[dict[str, str]] = {"GET": "retrieve"}

    async def get(self, batch_id: str) -> None:
        if self.service.faults.fire("retrieve_404") is not None:
            raise no_such_batch(batch_id)
        batch = self.find(batch_id)
        batch.polls += 1
        await self.reply(self.service.show(batch))


class CancelBatch(OneBatchHandler):
    calls: ClassVar[dict[str, str]] = {"POST": "cancel"}

    async def post(self, batch_id: str) -> None:
        batch = self.find(batch_id)
        if batch.terminal:
            raise Refusal(
                409,
                f"Cannot cancel a batch with status '{batch.status}'.",
            )
        if batch.status != "cancelling":
            self.service.lifecycle.cancel(batch)
        await self.reply(self.service.show(batch))
