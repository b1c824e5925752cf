"""Keep-alive: what Celery keeps for a task that waits is not to expire before the task ends.

Celery's Redis backend forgets the size of a chord, the results of its members and the state
BATCHED after `result_expires`; the chord's body would then never run, and nothing would say so. So
rescue walks those that wait, a few at each tick, and prolongs what Celery has set an end to. It is
also where a task is found that Celery has ended without us while its prompts are out.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from celery.states import READY_STATES, REVOKED
from redis.exceptions import RedisError

from batchq.celery_side.revoke import revoke
from batchq.common.seams.results import ResultKeys, result_keys
from batchq.common.seams.revokes import listed
from batchq.journal import CHUNK, Journal, Walk, chunks, journal_of
from batchq.settings.config import settings

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["groups_of", "keep_alive", "keep_groups"]

logger = logging.getLogger("batchq.keepalive")

_LONGEST = timedelta(hours=1)
"""How long one walk past all waiting tasks may take."""


def keep_alive(app: Celery[Any]) -> None:
    """Look after the next few of the tasks that wait, or are on their way back."""
    journal, keys = journal_of(app), result_keys(app)
    if keys is None:
        return  # Without a result backend there is nothing to keep.
    period, walk, now = _period(keys), journal.waiting.walk(), journal.clock.now()
    if not walk.through:
        if timedelta(milliseconds=now - walk.began_at) < period:
            return
        walk = Walk(began_at=now, through="waiting")
    budget = _budget(journal, settings(app).tick, period)
    while walk.through and budget > 0:
        walk, task_ids = journal.waiting.walk_on(walk, CHUNK)
        _look_after(app, journal, keys, task_ids)
        budget -= max(len(task_ids), CHUNK // 10)
    journal.waiting.note_walk(walk)


def _period(keys: ResultKeys) -> timedelta:
    """How long a walk takes. A task is met once in it: two meetings are up to two periods apart,
    and three where another member has just kept its group, so four of them are what is kept.
    """
    lasting = [timedelta(seconds=seconds) for seconds in keys.lasting if seconds > 0]
    return min([_LONGEST, *(one / 4 for one in lasting)])


def _budget(journal: Journal, tick: timedelta, period: timedelta) -> int:
    """How many tasks to meet at one tick, so that a walk is over in half its time."""
    count = journal.waiting.count() + journal.resuming.count()
    return max(CHUNK, math.ceil(2 * count * tick / period))


def _look_after(
    app: Celery[Any], journal: Journal, keys: ResultKeys, task_ids: Sequence[str]
) -> None:
    states = keys.states(task_ids)
    for task_id, state in states.items():
        if state == REVOKED:
            # By a worker that did not ask us. Its chord may not know yet.
            revoke(app, [task_id])
        elif state in READY_STATES:
            journal.tasks.drop(task_id)
    waiting = [task_id for task_id in task_ids if states.get(task_id) not in READY_STATES]
    if any(keys.lasting):
        keys.prolong_results(waiting)
        _keep(journal, keys, journal.chords.groups(waiting))


def keep_groups(app: Celery[Any], groups: Iterable[str]) -> None:
    """Prolong these groups now: their tasks may have been in a queue for most of their time."""
    keys = result_keys(app)
    if keys is not None and any(keys.lasting):
        try:
            _keep(journal_of(app), keys, groups)
        except RedisError as error:
            logger.warning(
                "the groups and chords of tasks that wait could not be kept from "
                "expiring (%s); the next tick tries again",
                error,
                extra={"action": "prolong"},
            )


def _keep(journal: Journal, keys: ResultKeys, groups: Iterable[str]) -> None:
    # Of a chord's thousands of members one is enough.
    for some in chunks(sorted(set(groups))):
        keys.prolong_groups(journal.chords.kept_now(some, for_=_period(keys) / 2))


# Which groups hang on a task


def groups_of(request: Any) -> list[str]:
    """The groups whose chords wait for this task, or for what follows it."""
    found = {request.group}
    signatures: list[Any] = [
        *(request.callbacks or ()),
        *(request.errbacks or ()),
        *(request.chain or ()),
        request.chord,
    ]
    while signatures:
        signature = signatures.pop()
        if isinstance(signature, Mapping):
            signature = cast("Mapping[str, Any]", signature)
            options: Mapping[str, Any] = signature.get("options") or {}
            found.add(options.get("group_id"))
            signatures += [options.get("chord"), *_inside(signature)]
            for name in ("link", "link_error"):
                signatures += listed(options.get(name))
    return sorted(found - {None})


def _inside(signature: Mapping[str, Any]) -> Iterable[Any]:
    """The signatures that make up a canvas. The arguments of a task are none of our business."""
    kwargs: Mapping[str, Any] = signature.get("kwargs") or {}
    kind = signature.get("subtask_type")
    if kind == "chord":
        return [kwargs.get("body"), *listed(kwargs.get("header"))]
    return listed(kwargs.get("tasks")) if kind in {"chain", "group"} else []
