"""Who does the work: beat, what it sends, and the workers that take it; and who answers it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from batchq.celery_side.stand_in import MISSED
from batchq.common.words import span
from batchq.observe.diagnosis.finding import Finding, info, problem, warning
from batchq.observe.diagnosis.own_tasks import listened_to

if TYPE_CHECKING:
    from batchq.observe.diagnosis.seen import Seen

__all__ = ["beat", "provider", "schedule", "workers"]

_CLOCKS = timedelta(minutes=1)


def schedule(seen: Seen) -> Iterator[Finding]:
    if seen.set_up is None:
        return
    sent = {entry.get("task") for entry in seen.set_up.schedule.values()}
    missing = sorted({"batchq.flush", "batchq.rescue"} - sent)
    if missing:
        what = f"beat's schedule has no entry for {' and '.join(missing)}"
        do = "set beat_schedule where the app is made: later it takes the place of Batchq's entries"
        yield problem(what, do)
    tick = seen.settings.tick.total_seconds()
    scheduler = str(seen.set_up.conf.get("beat_scheduler"))
    if "django_celery_beat" in scheduler and not tick.is_integer():
        what = (
            f"django-celery-beat keeps whole seconds, and of batchq_tick ({tick:g} s) only "
            f"{int(tick)}: with 0 beat sends Batchq's steps without a pause"
        )
        yield problem(what, "set batchq_tick to whole seconds")


def beat(seen: Seen) -> Iterator[Finding]:
    if seen.reading is None:
        return
    since, stands_in = seen.reading.beat, seen.reading.stands_in
    ago = timedelta(milliseconds=seen.reading.at - since)
    if since and ago <= MISSED * seen.settings.tick:
        return
    was = "is away" if since else "has never been seen"
    if stands_in is None:
        what = f"beat {was}, and no worker stands in: nothing is flushed and nothing rescued"
        yield problem(what, "start celery beat on this app, and a worker", since=since)
    else:
        what = f"beat {was}; {stands_in} stands in, and your own schedules wait"
        yield warning(what, "start celery beat on this app", since=since)


def workers(seen: Seen) -> Iterator[Finding]:
    queue = seen.settings.queue
    if seen.workers_error:
        yield problem(f"workers cannot be asked: {seen.workers_error}", "look at the broker")
    elif seen.set_up is not None and seen.set_up.not_asked:
        what = f"nobody can ask workers what they do: {seen.set_up.not_asked}"
        do = f"see to it that one of them consumes {queue!r}"
        yield info(f"{what}; so no revoke is heard either", do)
    elif seen.consumers is not None and not seen.consumers:
        do = "start celery worker on this app; one that is very busy may not answer in time"
        yield problem("no worker answers", do)
    elif seen.consumers is not None and not any(
        queue in queues for queues in seen.consumers.values()
    ):
        what = f"no worker consumes the queue {queue!r}: nothing is submitted or fetched"
        yield problem(what, f"name it, as in celery worker --queues celery,{queue}")
    yield from listened_to(seen)


def provider(seen: Seen) -> Iterator[Finding]:
    for name, look in (seen.providers or {}).items():
        if look.error:
            do = "look at its base_url and its key in batchq_accounts, and at the network"
            yield problem(f"account {name!r} does not answer: {look.error}", do)
        elif look.ahead is not None and abs(look.ahead) > _CLOCKS:
            which = "ahead of" if look.ahead > timedelta(0) else "behind"
            what = (
                f"the clock of this machine is {span(abs(look.ahead))} {which} that of account "
                f"{name!r}"
            )
            yield warning(what, "set the clock right: webhooks would be refused as stale")
