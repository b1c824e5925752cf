"""What Celery's own settings do to what waits for long: results, messages, tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.common.words import span
from batchq.decide.countdown import LONGEST_COUNTDOWN
from batchq.decide.poll import longest_wait
from batchq.observe.diagnosis.finding import Finding, info, problem, warning
from batchq.observe.diagnosis.own_tasks import kept, limits, losses, prefetched, shared_queue

if TYPE_CHECKING:
    from batchq.observe.diagnosis.seen import Results, Seen, SetUp
    from batchq.settings.record import Settings

__all__ = ["broker", "live", "own_tasks", "results"]

_DAY = timedelta(days=1)
_THREE_DAYS = timedelta(days=3)
_TICKS_OF_A_WALK = 12
"""What Celery keeps is prolonged in a quarter of its life, and a walk needs a few ticks."""

_OFTEN = 10.0
_LONG_STEP = timedelta(minutes=5)
"""What the longest step takes with a full batch on a slow line, and some."""


def results(seen: Seen) -> Iterator[Finding]:
    if seen.set_up is None:
        return
    found = seen.set_up.results
    if found is None:
        yield info("there is no result backend: nobody can get() a result", "set result_backend")
    elif found.in_redis:
        yield from _results_in_redis(found, seen.settings)
    else:
        yield from _results_elsewhere(found, seen.settings)
    yield from kept(seen.set_up)


def _results_in_redis(found: Results, config: Settings) -> Iterator[Finding]:
    expire, chords = (timedelta(seconds=one) for one in (found.expire, found.chords_expire))
    shortest = _TICKS_OF_A_WALK * config.tick
    if timedelta(0) < chords < shortest:
        what = f"chords expire after {span(chords)}, before rescue has come by to prolong them"
        do = f"set result_expires (and result_chord_expires) to {span(_THREE_DAYS)}"
        yield problem(what, do)
    if timedelta(0) < expire < _THREE_DAYS:
        what = (
            f"results expire after {span(expire)} (result_expires), so those of a group's first "
            "members may be gone before its last one's is there"
        )
        do = "set it to three days where clients fetch the results of groups; chords do not need it"
        yield warning(what, do) if expire < _DAY else info(what, do)


def _results_elsewhere(found: Results, config: Settings) -> Iterator[Finding]:
    expire, longest = timedelta(seconds=found.expire), longest_wait(config)
    if timedelta(0) < expire < longest:
        what = (
            f"results expire after {span(expire)} (result_expires), and a question may wait for "
            f"{span(longest)}: a chord whose first members are forgotten never ends"
        )
        yield warning(what, f"set it to {span(longest)} or more, or keep results in Redis")
    if found.asks_every < _OFTEN:
        what = (
            f"for each chord that waits Celery asks every {found.asks_every:g} s whether it is "
            "done (result_chord_retry_interval)"
        )
        yield warning(what, "set it to a minute or more, or keep results in Redis")


def broker(seen: Seen) -> Iterator[Finding]:
    if seen.set_up is None:
        return
    accepted = seen.set_up.conf.get("accept_content") or ()
    if "json" not in accepted and "application/json" not in accepted:
        what = "accept_content has no json, so workers refuse the messages of Batchq's own steps"
        yield problem(what, "add json to accept_content")
    held = _held_for(seen.set_up)
    if held is not None:
        yield from _delivered_again(held, seen.set_up.conf)


def _delivered_again(held: timedelta, conf: Mapping[str, Any]) -> Iterator[Finding]:
    again = f"a message that is held for {span(held)} is delivered again (visibility_timeout), and"
    do = "set broker_transport_options['visibility_timeout'] to an hour, longer than any task takes"
    if held <= LONGEST_COUNTDOWN:
        yield problem(f"{again} Batchq's are for up to {span(LONGEST_COUNTDOWN)}", do)
    elif held < _LONG_STEP:
        yield warning(f"{again} a step with a full batch may take longer", do)
    limit = conf.get("task_time_limit")
    if limit and conf.get("task_acks_late") and held < timedelta(seconds=limit):
        what = (
            f"a task may run for {span(timedelta(seconds=limit))} (task_time_limit), and is "
            f"delivered again after {span(held)} (visibility_timeout)"
        )
        yield warning(what, do)


_HELD_FOR = {**dict.fromkeys(("redis", "rediss", "sentinel", "valkey"), 3_600), "sqs": 1_800}
"""Seconds, by kombu, where nothing else is set. Other brokers know when a worker has died."""


def _held_for(of: SetUp) -> timedelta | None:
    usual = _HELD_FOR.get(of.broker)
    if usual is None:
        return None
    options: Mapping[str, Any] = of.conf.get("broker_transport_options") or {}
    return timedelta(seconds=float(options.get("visibility_timeout", usual)))


def own_tasks(seen: Seen) -> Iterator[Finding]:
    if seen.set_up is None:
        return
    if seen.set_up.tasks_error:
        what = f"the app's tasks cannot be imported: {seen.set_up.tasks_error}"
        yield problem(what, "mend that: a worker would not start either")
    yield from limits(seen.set_up)
    yield from losses(seen.set_up)
    yield from shared_queue(seen.set_up, seen.settings.queue)
    yield from prefetched(seen.set_up)


def live(seen: Seen) -> Iterator[Finding]:
    if seen.set_up is not None and seen.set_up.conf.get("task_always_eager"):
        what = (
            "task_always_eager is on, so every task runs at once, in its caller, at the live price"
        )
        yield problem(what, "turn it off")
