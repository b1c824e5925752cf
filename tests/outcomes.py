"""A shared worker and beat, and what must be true after every journey they have made."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import redis
from celery.result import AsyncResult

from batchq.journal import BatchRecord, Journal, journal_of
from batchq.overview import status
from tests import harness
from tests.apps import outcomes
from tests.harness import Emulator, Stack, keys_without_end, wait_until
from tests.journals import DOCUMENTED

PATIENCE = 25.0
A_WHILE = timedelta(seconds=1)
A_MINUTE = timedelta(minutes=1)
#: A wake-up by rescue looks like one too.
LOOKS = 4


@dataclass
class World:
    """One test's view of the stack: ask, wait, and hold the books against each other."""

    stack: Stack
    sent: list[AsyncResult[Any]] = field(default_factory=list["AsyncResult[Any]"])

    @property
    def emulator(self) -> Emulator:
        return self.stack.emulator

    @property
    def journal(self) -> Journal:
        return journal_of(outcomes.app)

    def ask(self, count: int = 3) -> list[str]:
        """Send some tasks, and flush when all have asked; returns their texts."""
        texts = [f"question {number} {uuid.uuid4().hex}" for number in range(count)]
        self.sent += [outcomes.say.delay(text) for text in texts]
        wait_until(
            lambda: self.journal.tallies.counters().get("captured") == len(self.sent),
            description="all have asked",
            timeout=PATIENCE,
        )
        outcomes.app.tasks["batchq.flush"].delay(everything=True)
        return texts

    def results(self) -> list[dict[str, Any]]:
        """What became of all that was asked, in order."""
        return [result.get(timeout=PATIENCE) for result in self.sent]

    def skip(self) -> None:
        """Wait until all has ended, and move the clock over the pauses between a batch's steps."""

        def ended() -> bool:
            skip_pause(self.stack, self.journal)
            return all(result.ready() for result in self.sent)

        wait_until(ended, description="all have ended", timeout=PATIENCE)

    def until(self, state: str) -> None:
        """Wait until the one open batch is in this state."""
        wait_until(
            lambda: [batch.state for batch in self.open()] == [state],
            description=f"the batch is {state}",
        )

    def not_before(self, due: timedelta) -> None:
        """The one open batch is looked at until a minute before its time, and stays open; then its
        time comes.
        """
        self.stack.advance(due - A_MINUTE)
        seen = set[tuple[str, int]]()

        def looked_at() -> bool:
            (batch,) = self.open()
            seen.add((batch.chain, batch.looks))
            return len(seen) > LOOKS

        wait_until(looked_at, description="it is looked at again and again, and stays open")
        self.stack.advance(2 * A_MINUTE)

    def errors(self) -> list[tuple[str, int, str | None]]:
        """The errors among the results."""
        failed = [result for result in self.results() if "error" in result]
        return [(one["error"], one["status"], one["code"]) for one in failed]

    def batches(self) -> list[dict[str, str]]:
        """The batches that are over, oldest first, as the journal has them."""
        self.quiet()
        records = self.journal.batches.closed(100)
        raw = [
            self.journal.store.redis.hgetall(self.journal.store.batch_keys(one.id)[0])
            for one in records
        ]
        return [{k.decode(): v.decode() for k, v in one.items()} for one in reversed(raw)]

    def open(self) -> list[BatchRecord]:
        return self.journal.batches.open()

    def quiet(self) -> None:
        wait_until(self._is_quiet, description="nothing is under way", timeout=PATIENCE)

    def _is_quiet(self) -> bool:
        now = status(outcomes.app)
        return not (now.waiting or now.batches or now.tasks_waiting or now.tasks_resuming)

    def check(self, *, batches: int | None = None, repeated: int = 0) -> None:
        """All resolved, nothing run twice but for ``repeated`` lines, nothing left behind."""
        self.results()
        self.quiet()
        ledger = self.emulator.ledger()
        asked = {f"{result.id}-0" for result in self.sent}
        assert set(ledger["lines"]) <= asked
        ran = [line["ok"] + line["failed"] for line in ledger["lines"].values()]
        assert sum(times - 1 for times in ran) == repeated, ledger["lines"]
        assert ledger["live_calls"] == 0
        if batches is not None:
            assert ledger["batches_created"] == batches
        with redis.Redis.from_url(self.stack.server.url) as client:
            assert keys_without_end(client, documented=DOCUMENTED) == []
            found = [key for key, text in _texts(client) if harness.API_KEY.encode() in text]
            assert found == []
        for process in self.stack.processes:
            assert harness.API_KEY not in process.output(), process.name
            assert "Traceback" not in process.output(), process.name


def skip_pause(stack: Stack, journal: Journal) -> None:
    """Move the clock to the next step of a batch, where all of them are a while off."""
    pauses = [journal.batches.due_in(batch.id) for batch in journal.batches.open()]
    if pauses and min(pauses) > A_WHILE:
        stack.advance(min(pauses) + A_WHILE)


def _texts(client: Any) -> Iterator[tuple[bytes, bytes]]:
    """Every key with all that it holds, uncompressed."""
    read = {
        b"string": lambda key: [client.get(key)],
        b"hash": lambda key: [part for pair in client.hgetall(key).items() for part in pair],
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": lambda key: [text for _, found in client.xrange(key) for text in found.values()],
    }
    for key in client.scan_iter(count=1000):
        parts = read.get(client.type(key), lambda _: [])(key)
        for part in [key, *parts]:
            if part is not None:
                yield key, zlib.decompress(part[1:]) if part[:2] == b"zx" else part
