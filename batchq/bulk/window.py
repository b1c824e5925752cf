"""Back-pressure: how many messages of those that are sent are still in the broker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from batchq.bulk.calls import Call
from batchq.common.seams.queues import messages_in, queue_of_task
from batchq.journal import CHUNK, Journal, chunks

__all__ = ["Window", "queue_of"]

Taken = Callable[[list[str]], object]

_LONGEST = 1.0


def queue_of(call: Call) -> str:
    """The queue that a call goes to; empty where an exchange or the call itself decides."""
    given = call.options.get("queue")
    if given is not None:
        return str(getattr(given, "name", given))
    elsewhere = {"exchange", "routing_key"} & call.options.keys()
    return "" if elsewhere else queue_of_task(call.task.app, call.task)


class Window:
    """The tasks that were sent and not seen to be taken, at most so many.

    A broker does not tell which messages it holds, but how many: of a queue that is read in its
    order, no more than its newest are ours. Where it holds more than we may have, others send to it
    as well; then the journal says which of ours have begun.
    """

    def __init__(self, app: Any, journal: Journal, most: int | None, taken: Taken) -> None:
        self._app = app
        self._journal = journal
        self._most = most
        self._taken = taken
        self._out: deque[str] = deque()
        self._queues: set[str] = set()

    def __len__(self) -> int:
        return len(self._out)

    def add(self, task_ids: Iterable[str], queues: Iterable[str]) -> None:
        if self._most is not None:
            self._out.extend(task_ids)
        self._queues.update(queues)

    def wait_for(self, number: int, meanwhile: Callable[[], None]) -> None:
        """Wait until so many more may be sent."""
        pause = 0.02
        while self._is_full(number):
            meanwhile()
            time.sleep(pause)
            pause = min(_LONGEST, 1.5 * pause)

    def _is_full(self, number: int) -> bool:
        for look in (None, self._drop_older_than_queues, self._drop_begun):
            if look is not None:
                look()
            if self._most is None or len(self._out) + number <= self._most:
                return False
        return True

    def _drop_older_than_queues(self) -> None:
        if "" not in self._queues:
            most = messages_in(self._app, self._queues)
            self._drop([self._out.popleft() for _ in range(len(self._out) - most)])

    def _drop_begun(self) -> None:
        begun = {
            task_id
            for some in chunks(list(self._out), CHUNK)
            for task_id in self._journal.tasks.known(some)
        }
        self._out = deque(task_id for task_id in self._out if task_id not in begun)
        self._drop(list(begun))

    def _drop(self, task_ids: list[str]) -> None:
        if task_ids:
            self._taken(task_ids)
