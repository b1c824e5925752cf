"""What an app's own settings do to its batched tasks, where that is not what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.common.words import first_few, span
from batchq.observe.diagnosis.finding import Finding, info, warning

if TYPE_CHECKING:
    from batchq.observe.diagnosis.seen import OwnTask, Seen, SetUp

__all__ = ["kept", "limits", "listened_to", "losses", "prefetched", "shared_queue"]

_A_RUN = timedelta(minutes=1)
"""What a run may take that asks, and then waits for nothing: its Redis may restart under it, and
the run before it may have died with its lease."""

_A_LIVE_CALL = timedelta(minutes=10)
"""How long the SDK waits for an answer."""

_MANY_AT_ONCE = 16


def limits(of: SetUp) -> Iterator[Finding]:
    """Limits of time, and of how often a task is run."""
    for option in ("soft_time_limit", "time_limit"):
        yield from _of_time(of.batched, option)
    limited = [task for task in of.batched if task.rate_limit]
    if limited and not of.conf.get("worker_disable_rate_limits"):
        rates = " or ".join(sorted({task.rate_limit for task in limited}))
        what = (
            f"{_names(limited)} may begin {rates} ({_by(limited, 'rate_limit')}): that holds up "
            "questions, and what comes back once more, and spares the provider nothing"
        )
        yield warning(what, "take the rate limit off batched tasks: a batch has none")


def _of_time(tasks: Iterable[OwnTask], option: str) -> Iterator[Finding]:
    limited = [task for task in tasks if getattr(task, option)]
    short = [task for task in limited if getattr(task, option) < _A_RUN.total_seconds()]
    some = [
        task
        for task in limited
        if task not in short and getattr(task, option) < _A_LIVE_CALL.total_seconds()
    ]
    if short:
        what = (
            f"a run of {_names(short)} is cut off after {_shortest(short, option)}, and one that "
            f"finds Redis restarting takes up to {span(_A_RUN)}"
        )
        do = f"set it to {span(_A_RUN)} or more: the time in a batch does not count"
        yield warning(what, do)
    if some:
        what = (
            f"a run of {_names(some)} is cut off after {_shortest(some, option)}: enough for one "
            f"that asks, and a call of it that goes live may take {span(_A_LIVE_CALL)}"
        )
        yield info(what, "raise it where such a task asks live; Batchq's steps have their own")


def _shortest(tasks: list[OwnTask], option: str) -> str:
    seconds = min(getattr(task, option) for task in tasks)
    return f"{span(timedelta(seconds=seconds))} ({_by(tasks, option)})"


def losses(of: SetUp) -> Iterator[Finding]:
    """What is lost or fails where a worker is killed."""
    early = [task for task in of.batched if not task.acks_late]
    if early:
        what = (
            f"a run of {_names(early)} whose worker is killed before it has asked is lost "
            "(task_acks_late is off)"
        )
        yield info(what, "set task_acks_late and task_reject_on_worker_lost")
    fail = [task for task in of.batched if task.acks_late and not task.reject_on_worker_lost]
    if fail:
        what = (
            f"{_names(fail)} fails where its process is killed, and does not run again "
            "(task_reject_on_worker_lost is off)"
        )
        yield info(what, "set it: one that kills three processes in a row is ended by Batchq")


def kept(of: SetUp) -> Iterator[Finding]:
    """Whether there is a result to fetch."""
    ignored = [task for task in of.batched if task.ignore_result]
    if ignored and of.results is not None:
        what = (
            f"no result of {_names(ignored)} is kept ({_by(ignored, 'ignore_result')}), nor that "
            "it is BATCHED"
        )
        yield info(what, "leave it so only where nobody fetches them")


def listened_to(seen: Seen) -> Iterator[Finding]:
    """Whether anybody takes batched tasks out of the queues that they go to."""
    taken = frozenset[str]().union(*(seen.consumers or {}).values())
    if not seen.consumers or seen.set_up is None:
        return
    batched = seen.set_up.batched
    for queue in sorted({task.queue for task in batched} - {"", *taken}):
        tasks = [task for task in batched if task.queue == queue]
        what = f"no worker consumes the queue {queue!r}, to which {_names(tasks)} goes"
        yield warning(what, f"name it, as in celery worker --queues {queue}, or change the route")


def shared_queue(of: SetUp, queue: str) -> Iterator[Finding]:
    """Whether Batchq's steps have their queue to themselves."""
    beside = [task for task in of.batched if task.queue == queue]
    if beside:
        what = (
            f"{_names(beside)} goes to the queue of Batchq's steps ({queue!r}, batchq_queue), and "
            "they wait behind it"
        )
        yield info(what, "route it elsewhere")


def prefetched(of: SetUp) -> Iterator[Finding]:
    """How many messages a worker takes before it has run those that it has."""
    taken: Any = of.conf.get("worker_prefetch_multiplier")
    if taken is None or 0 < taken <= _MANY_AT_ONCE:
        return
    how_many = f"{taken} for each of its processes" if taken else "all that wait"
    what = (
        f"a worker takes {how_many} (worker_prefetch_multiplier), so what comes back from a batch, "
        "and Batchq's steps, stand behind them while other workers are idle"
    )
    yield warning(what, "set it to 1, or to 4, Celery's own")


def _by(tasks: Iterable[OwnTask], option: str) -> str:
    return " or ".join(sorted({task.said_by.get(option, option) for task in tasks}))


def _names(tasks: list[OwnTask]) -> str:
    return first_few(sorted(task.name for task in tasks))
