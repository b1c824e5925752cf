"""Which tasks something knows of already: the journal, a result, or a note of what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchq.bulk.calls import Call, runs
from batchq.bulk.window import queue_of
from batchq.common.points import point
from batchq.common.seams.queues import is_empty
from batchq.common.seams.results import result_keys
from batchq.journal import journal_of

__all__ = ["Known"]


class Known:
    """Asked of those calls alone whose ids repeat. A new id is known nowhere, and is not noted."""

    def __init__(self, app: Any, *, resend: bool) -> None:
        self._app = app
        self._journal = journal_of(app)
        self._resend = resend
        self._notes = False
        self._empty: dict[str, bool] = {}

    def sort(self, calls: Sequence[Call]) -> tuple[list[Call], list[str]]:
        """Those that are to be sent, each once; and the ids of those that were sent and that nobody
        has been seen to take.
        """
        unsure = [call for call in calls if call.repeats]
        if not unsure:
            return list(calls), []
        ids = list(dict.fromkeys(call.task_id for call in unsure))
        known = set(self._journal.tasks.known(ids))
        known |= self._with_results([one for one in ids if one not in known])
        unseen = self._noted(unsure, known)
        skip, new = {*known, *unseen}, list[Call]()
        for call in calls:
            if call.task_id not in skip:
                new.append(call)
                skip.add(call.task_id)
        return new, unseen

    def note(self, calls: Sequence[Call], sent: Sequence[str]) -> None:
        """These were sent, as far as their ids are among the sent."""
        there = set(sent)
        ids = [call.task_id for call in calls if call.repeats and call.task_id in there]
        if ids:
            self._notes = True
            self._journal.enqueued.note(ids)
            point("enqueue.noted")

    def forget(self, task_ids: Sequence[str]) -> None:
        """Somebody has taken these."""
        if self._notes:
            self._journal.enqueued.forget(task_ids)

    def _with_results(self, task_ids: Sequence[str]) -> set[str]:
        keys = result_keys(self._app)
        states = {} if keys is None else keys.states(task_ids)
        return {task_id for task_id, state in states.items() if state != "PENDING"}

    def _noted(self, calls: Sequence[Call], known: set[str]) -> list[str]:
        """Those noted whose message may be there still. What was noted for a queue that was empty
        before we sent to it was lost, or is with a worker, where a second one does no harm.
        """
        wanted = list[str]()
        for alike in runs(calls):
            if not self._was_empty(queue_of(alike[0])):
                wanted += [call.task_id for call in alike if call.task_id not in known]
        noted = set[str]() if self._resend else self._journal.enqueued.noted(wanted)
        return [task_id for task_id in dict.fromkeys(wanted) if task_id in noted]

    def _was_empty(self, queue: str) -> bool:
        if queue not in self._empty:
            self._empty[queue] = queue != "" and is_empty(self._app, queue)
        return self._empty[queue]
