"""What `enqueue` returns: how many there are, how far they have come, and what came of each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.states import PENDING, SUCCESS

from batchq.bulk.spool import Spool
from batchq.common.seams.results import ResultKeys, result_keys
from batchq.journal import CHUNK

__all__ = ["Enqueued", "Finished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A task that has come to its end: ``row`` is the place of its row, from 0 on.

    ``result`` is what it returned or, where ``state`` is not SUCCESS, the error that it ended with.
    """

    row: int
    task_id: str
    state: str
    result: Any

    def get(self) -> Any:
        """What the task returned. Raises its error, where it failed."""
        if self.state != SUCCESS:
            raise self.result
        return self.result


class Enqueued:
    """The tasks of one `enqueue`. Its length is the number of rows; ids are kept in a temporary
    file, and no result is.

    sent: were sent by this call.
    known: were not sent again: the journal or the result backend knows them, or their key came
        before.
    unseen: were not sent again: an earlier call has sent them, and nobody has been seen to take
        their messages. They are in the queue, or were lost with it: that cannot be told.
    ignored: results of some are ignored, by the task or the call.
    """

    def __init__(self, app: Any) -> None:
        self.sent = self.known = self.unseen = 0
        self.ignored = False
        self._app = app
        self._ids = Spool()
        self._ended: dict[str, tuple[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"<{len(self)} tasks: {self.sent} sent, {self.known} known, {self.unseen} unseen>"

    def __iter__(self) -> Iterator[Finished]:
        return self.results()

    @property
    def task_ids(self) -> Iterator[str]:
        """The id of each row's task, in the order of the rows."""
        return (task_id for some in self._ids.chunks(CHUNK) for _, task_id in some)

    def counts(self) -> Counter[str]:
        """How many rows are in which of Celery's states.

        PENDING are those in the queue, and those whose result has expired. Raises TypeError where
        results are ignored, or not kept where everybody can read them.
        """
        found = Counter[str]()
        for some in self._ids.chunks(CHUNK):
            ids = [task_id for _, task_id in some]
            states = {one: state for one, (state, _) in self._ended.items()}
            states |= {} if self._ended else self._keys().states(ids)
            found.update(states.get(task_id, PENDING) for task_id in ids)
        return found

    def results(self, timeout: float | None = None) -> Iterator[Finished]:
        """Each row's task as it ends, in no order, until all have; failed ones are among them.

        It may be left and begun again: it begins with those that have ended already. A result that
        expires (``result_expires``) before it is read never comes. Raises celery's TimeoutError
        where none has come for ``timeout`` seconds, and TypeError as `counts` does.
        """
        waiting, since = self._ids, time.monotonic()
        while len(waiting):
            began, left = time.monotonic(), Spool()
            for some in waiting.chunks(CHUNK):
                final = self._final([task_id for _, task_id in some])
                left.add((row, task_id) for row, task_id in some if task_id not in final)
                for row, task_id in some:
                    if task_id in final:
                        state, result = final[task_id]
                        yield Finished(row=row, task_id=task_id, state=state, result=result)
                        since = time.monotonic()
            waiting = left
            if len(waiting):
                _pause(time.monotonic() - began, since, timeout)

    def keep(self, task_id: str, state: str, result: Any) -> None:
        """Have the result of a task that ran at once, in this process."""
        self._ended[task_id] = (state, result)

    def add(self, task_ids: list[str]) -> None:
        """The next rows."""
        self._ids.add(enumerate(task_ids, len(self)))

    def _final(self, task_ids: list[str]) -> dict[str, tuple[str, Any]]:
        return self._ended or self._keys().final(task_ids)

    def _keys(self) -> ResultKeys:
        if self.ignored:
            raise TypeError(
                "some of these tasks ignore their results, so there is none to wait for"
            )
        keys = result_keys(self._app)
        if keys is None or self._app.backend.as_uri().startswith("rpc:"):
            raise TypeError(
                "there is no result backend from which results can be read by their ids: set "
                "result_backend to a Redis or a database"
            )
        return keys


def _pause(took: float, since: float, timeout: float | None) -> None:
    """As long as the last look took, so that looking is never more than half of what is done."""
    left = None if timeout is None else since + timeout - time.monotonic()
    if left is not None and left <= 0:
        raise CeleryTimeoutError(f"no result came for {timeout:g} seconds")
    pause = max(_SHORTEST, took)
    time.sleep(pause if left is None else min(pause, left))


_SHORTEST = 0.5
