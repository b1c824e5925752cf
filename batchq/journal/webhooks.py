"""What webhooks have told: of which batch, whether it came before, whether they come at all."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, cast

from batchq.journal.records import BatchRecord
from batchq.journal.replies import milliseconds
from batchq.journal.scripts import arguments
from batchq.journal.store import Store

__all__ = ["WEBHOOKS_COUNT", "Telling", "Webhooks"]

WEBHOOKS_COUNT = timedelta(days=1)
"""How long a webhook that was right lets its account be polled less."""
_REMEMBERED = timedelta(hours=73)
"""A provider repeats a webhook for three days. One that somebody else repeats is refused after ten
minutes by its time alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What became of a webhook; with the word WOKEN, the chain of polls that goes on."""

    word: Literal["WOKEN", "TOLD", "OVER", "REPEATED", "DEAD", "GONE"]
    chain: str


class Webhooks:
    """From a provider's id to a batch, and from a webhook to its poll."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key

    def of_provider(self, provider_id: str) -> str | None:
        """Our batch behind a provider's id; None where it is nobody's, or somebody else's."""
        batch_id: bytes | None = self._redis.get(self._store.provider_key(provider_id))
        return None if batch_id is None else batch_id.decode(errors="replace")

    def tell(self, batch: BatchRecord, webhook_id: str) -> Telling:
        """Let the poll of a batch be due now, once for each webhook, and remember the webhook."""
        digest = hashlib.sha256(webhook_id.encode()).hexdigest()[:32]
        account = batch.lane.account
        keys = [self._key("webhook", digest), self._key("batch", batch.id)]
        keys += [self._key("lease", "batch", batch.id), self._key("batches")]
        keys += [self._key("webhooks", account)]
        chain = uuid.uuid4().hex
        args = arguments(
            batch=batch.id,
            remember=milliseconds(_REMEMBERED),
            chain=chain,
            count=milliseconds(WEBHOOKS_COUNT),
        )
        word = self._store.word("tell", keys, args)
        return Telling(word=cast("Literal['WOKEN']", word), chain=chain)

    def note_end(self, account: str, *, told: bool) -> None:
        """A poll has found a batch over; ``told``: a webhook had said so before."""
        key = self._key("webhooks", account)
        if told:
            self._redis.set(key, self._store.now(), px=milliseconds(WEBHOOKS_COUNT))
        else:
            self._redis.delete(key)

    def since(self, account: str) -> timedelta | None:
        """How long ago a webhook of this account was last right; None where the last end of a batch
        came without one.
        """
        last = self._store.number(self._key("webhooks", account))
        return None if last is None else timedelta(milliseconds=max(0, self._store.now() - last))
