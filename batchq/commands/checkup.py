"""What is wrong with a set-up, or will be within a day: pure rules over what was seen of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from batchq.celery_side.stand_in import MISSED
from batchq.commands.own_tasks import kept, limits, listened_to, losses, prefetched, shared_queue
from batchq.commands.seen import Check, Level, Results, Seen, Told
from batchq.common.words import dollars, many, span
from batchq.decide.budget import budget_reached
from batchq.decide.poll import longest_wait
from batchq.flow.runner import LONGEST_COUNTDOWN

if TYPE_CHECKING:
    from batchq.common.troubles import TroubleReason
    from batchq.journal import AccountPause, Sample
    from batchq.observe.health import Finding
    from batchq.overview import Status
    from batchq.settings.links import Link
    from batchq.settings.record import Settings

__all__ = ["examine", "full_after"]

_DAY = timedelta(days=1)
_THREE_DAYS = timedelta(days=3)
_TICKS_OF_A_WALK = 12
"""What Celery keeps is prolonged in a quarter of its life, and a walk needs a few ticks."""

_LONG_STEP = timedelta(minutes=5)
"""What the longest step takes with a full batch on a slow line, and some."""


def examine(seen: Seen) -> list[Check]:
    """All that was looked at, in the order in which one would; what is well has a line too."""
    found: list[Check] = []
    for about, fine, rule in _RULES:
        told = list(rule(seen))
        if not any(level in {"warning", "problem"} for level, _, _ in told) and _was_seen(
            seen, about
        ):
            told.insert(0, ("ok", fine, ""))
        found += [Check(about=about, level=level, what=what, do=do) for level, what, do in told]
    return found


def _was_seen(seen: Seen, about: str) -> bool:
    needed: Mapping[str, object] = {
        "workers": seen.consumers,
        "provider": seen.providers,
        **dict.fromkeys(
            ("redis", "memory", "storage", "beat", "lanes", "budget", "tasks", "batchq"),
            seen.status,
        ),
    }
    return needed.get(about, seen) is not None


# Redis


def _redis(seen: Seen) -> Iterator[Told]:
    if seen.redis_error:
        what = f"Redis {seen.settings.shown_redis_url} cannot be used: {seen.redis_error}"
        yield "problem", what, _mend(seen.redis_error)
    yield from _on_the_way(seen.settings.link)
    if seen.status is not None:
        yield from map(_of_finding, seen.status.findings)


_MENDS = (
    ("certificate", "name its authority in ssl_ca_certs: in the URL, or in batchq_redis_options"),
    ("no sentinel knows", "set master_name as the sentinels have it, and look whether they run"),
    ("no server of the list", "start one of them as a primary"),
    ("no node of the cluster", "look at CLUSTER INFO: that slot is served by nobody"),
    ("SSL", "write rediss:// for a server with TLS, and redis:// for one without"),
    ("username-password", "quote the password in the URL, or give it in batchq_redis_options"),
    ("Authentication required", "put user and password into its URL or batchq_redis_options"),
)
"""What to do, by words of what a connection says."""


def _mend(error: str) -> str:
    otherwise = "start it, or say in batchq_redis_url where it is"
    return next((do for word, do in _MENDS if word.lower() in error.lower()), otherwise)


def _on_the_way(link: Link) -> Iterator[Told]:
    if not link.is_verified:
        what = "the certificate of its server is not looked at (ssl_cert_reqs is none)"
        yield "info", what, "set it to required, and ssl_ca_certs, unless its host says otherwise"
    if link.kind == "list":
        what = "its URL is a list: servers that are not replicas of one another are two journals"
        yield "info", what, "use Sentinel"


def _of_finding(finding: Finding) -> Told:
    # One that is allowed all the same is a warning at its start too.
    level: Level = "problem" if finding.level == "unsafe" else finding.level
    return level, finding.what, finding.do


def _memory(seen: Seen) -> Iterator[Told]:
    if seen.facts is None or seen.status is None:
        return
    info = seen.facts.info
    used, most = (_whole(info.get(name)) for name in ("used_memory", "maxmemory"))
    limit = most or _whole(info.get("total_system_memory"))
    each = _size_of_one(seen.status, seen.settings)
    left = full_after(seen.samples, used=used, limit=limit, each=each)
    if left is not None and left < _DAY:
        which = "maxmemory" if most else "the memory of its machine"
        what = f"at the pace of the last hours, {which} ({limit:,} bytes) is full in {span(left)}"
        yield "warning", what, "raise maxmemory, flush more often, or hold back who asks"
    if seen.settings.large_bodies is None:
        yield from _large_bodies(seen.status, seen.settings, limit)


def _large_bodies(status: Status, config: Settings, limit: int) -> Iterator[Told]:
    """Where requests are images, a few hundred of them fill a Redis."""
    waiting = [(one.prompts, one.bytes) for one in status.lanes]
    waiting += [(one.lines, one.bytes) for one in status.batches]
    large = [(count, size) for count, size in waiting if size > count * config.large_body_bytes]
    count, size = (sum(part) for part in zip(*large, strict=True)) if large else (0, 0)
    if size > _LARGE_SHARE * (limit or _UNKNOWN_LIMIT):
        what = (
            f"the requests of {many(count, 'prompt')} that wait have {size:,} bytes, and Redis "
            f"keeps them{f', with {limit:,} bytes for all' if limit else ''}"
        )
        do = "keep large ones outside of it (batchq_large_bodies), or flush by batchq_flush_bytes"
        yield "warning", what, do


_LARGE_SHARE = 0.1
_UNKNOWN_LIMIT = 10**9


def _size_of_one(status: Status, config: Settings) -> int:
    """Bytes of Redis that a waiting prompt takes, at the most: its request is compressed."""
    lanes, batches = status.lanes, status.batches
    prompts = sum(one.prompts for one in lanes) + sum(one.lines for one in batches)
    size = sum(one.bytes for one in lanes) + sum(one.bytes for one in batches)
    each = size // prompts if prompts else 0
    return _BESIDE_A_PROMPT + (
        each if config.large_bodies is None else min(each, config.large_body_bytes)
    )


_BESIDE_A_PROMPT = 2_500
"""Bytes of Redis that a waiting prompt takes beside its request (benchmarks/README.md)."""
_PACE_NEEDS = timedelta(minutes=10)


def full_after(
    samples: tuple[Sample, ...], *, used: int, limit: int, each: int
) -> timedelta | None:
    """How long until Redis is full, where as many prompts more wait each hour as did lately.

    None where they do not get more, or nobody knows.
    """
    if len(samples) < 2 or not limit:
        return None
    first, last = samples[0], samples[-1]
    passed = timedelta(milliseconds=last.at - first.at)
    grown = (last.waiting + last.batched) - (first.waiting + first.batched)
    if passed < _PACE_NEEDS or grown <= 0:
        return None
    return passed * (max(0, limit - used) / (grown * each))


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


# Who does the work


def _schedule(seen: Seen) -> Iterator[Told]:
    sent = {entry.get("task") for entry in seen.schedule.values()}
    missing = sorted({"batchq.flush", "batchq.rescue"} - sent)
    if missing:
        what = f"beat's schedule has no entry for {' and '.join(missing)}"
        do = "set beat_schedule where the app is made: later it takes the place of Batchq's entries"
        yield "problem", what, do
    tick = seen.settings.tick.total_seconds()
    if "django_celery_beat" in str(seen.conf.get("beat_scheduler")) and not tick.is_integer():
        what = (
            f"django-celery-beat keeps whole seconds, and of batchq_tick ({tick:g} s) only "
            f"{int(tick)}: with 0 beat sends Batchq's steps without a pause"
        )
        yield "problem", what, "set batchq_tick to whole seconds"


def _beat(seen: Seen) -> Iterator[Told]:
    if seen.status is None:
        return
    since, stands_in = seen.status.beat_seen, seen.status.stands_in
    if since is not None and since <= MISSED * seen.settings.tick:
        return
    was = "never seen" if since is None else f"last seen {span(since)} ago"
    if stands_in is None:
        what = f"beat was {was}, and no worker stands in: nothing is flushed and nothing rescued"
        yield "problem", what, "start celery beat on this app, and a worker"
    else:
        what = f"beat was {was}; {stands_in} stands in, and your own schedules wait"
        yield "warning", what, "start celery beat on this app"


def _workers(seen: Seen) -> Iterator[Told]:
    queue = seen.settings.queue
    if seen.workers_error:
        what = f"workers cannot be asked: {seen.workers_error}"
        yield "problem", what, "look at the broker"
    elif seen.not_asked:
        what = (
            f"nobody can ask workers what they do: {seen.not_asked}; so no revoke is heard either"
        )
        yield "info", what, f"see to it that one of them consumes {queue!r}"
    elif seen.consumers is not None and not seen.consumers:
        do = "start celery worker on this app; one that is very busy may not answer in time"
        yield "problem", "no worker answers", do
    elif seen.consumers is not None and not any(
        queue in queues for queues in seen.consumers.values()
    ):
        what = f"no worker consumes the queue {queue!r}: nothing is submitted or fetched"
        yield "problem", what, f"name it, as in celery worker --queues celery,{queue}"
    yield from listened_to(seen)


def _provider(seen: Seen) -> Iterator[Told]:
    for name, look in (seen.providers or {}).items():
        if look.error:
            do = "look at its base_url and its key in batchq_accounts, and at the network"
            yield "problem", f"account {name!r} does not answer: {look.error}", do
        elif look.ahead is not None and abs(look.ahead) > _CLOCKS:
            which = "ahead of" if look.ahead > timedelta(0) else "behind"
            what = (
                f"the clock of this machine is {span(abs(look.ahead))} {which} that of account "
                f"{name!r}"
            )
            yield "warning", what, "set the clock right: webhooks would be refused as stale"


_CLOCKS = timedelta(minutes=1)


# Celery's settings


def _results(seen: Seen) -> Iterator[Told]:
    if seen.results is None:
        yield "info", "there is no result backend: nobody can get() a result", "set result_backend"
    elif seen.results.in_redis:
        yield from _results_in_redis(seen.results, seen.settings)
    else:
        yield from _results_elsewhere(seen.results, seen.settings)
    yield from kept(seen)


def _results_in_redis(results: Results, config: Settings) -> Iterator[Told]:
    expire, chords = (timedelta(seconds=one) for one in (results.expire, results.chords_expire))
    shortest = _TICKS_OF_A_WALK * config.tick
    if timedelta(0) < chords < shortest:
        what = f"chords expire after {span(chords)}, before rescue has come by to prolong them"
        do = f"set result_expires (and result_chord_expires) to {span(_THREE_DAYS)}"
        yield "problem", what, do
    if timedelta(0) < expire < _THREE_DAYS:
        what = (
            f"results expire after {span(expire)} (result_expires), so those of a group's first "
            "members may be gone before its last one's is there"
        )
        do = "set it to three days where clients fetch the results of groups; chords do not need it"
        yield "warning" if expire < _DAY else "info", what, do


def _results_elsewhere(results: Results, config: Settings) -> Iterator[Told]:
    expire, longest = timedelta(seconds=results.expire), longest_wait(config)
    if timedelta(0) < expire < longest:
        what = (
            f"results expire after {span(expire)} (result_expires), and a question may wait for "
            f"{span(longest)}: a chord whose first members are forgotten never ends"
        )
        yield "warning", what, f"set it to {span(longest)} or more, or keep results in Redis"
    if results.asks_every < _OFTEN:
        what = (
            f"for each chord that waits Celery asks every {results.asks_every:g} s whether it is "
            "done (result_chord_retry_interval)"
        )
        yield "warning", what, "set it to a minute or more, or keep results in Redis"


_OFTEN = 10.0


def _broker(seen: Seen) -> Iterator[Told]:
    accepted = seen.conf.get("accept_content") or ()
    if "json" not in accepted and "application/json" not in accepted:
        what = "accept_content has no json, so workers refuse the messages of Batchq's own steps"
        yield "problem", what, "add json to accept_content"
    held = _held_for(seen)
    if held is None:
        return
    do = "set broker_transport_options['visibility_timeout'] to an hour, longer than any task takes"
    if held <= LONGEST_COUNTDOWN:
        what = (
            f"a message that is held for {span(held)} is delivered again (visibility_timeout), and "
            f"Batchq's are for up to {span(LONGEST_COUNTDOWN)}"
        )
        yield "problem", what, do
    elif held < _LONG_STEP:
        what = (
            f"a message that is held for {span(held)} is delivered again (visibility_timeout), and "
            "a step with a full batch may take longer"
        )
        yield "warning", what, do
    limit = seen.conf.get("task_time_limit")
    if limit and seen.conf.get("task_acks_late") and held < timedelta(seconds=limit):
        what = (
            f"a task may run for {span(timedelta(seconds=limit))} (task_time_limit), and is "
            f"delivered again after {span(held)} (visibility_timeout)"
        )
        yield "warning", what, do


def _own_tasks(seen: Seen) -> Iterator[Told]:
    if seen.tasks_error:
        what = f"the app's tasks cannot be imported: {seen.tasks_error}"
        yield "problem", what, "mend that: a worker would not start either"
    for rule in (limits, losses, shared_queue, prefetched):
        yield from rule(seen)


_HELD_FOR = {**dict.fromkeys(("redis", "rediss", "sentinel", "valkey"), 3_600), "sqs": 1_800}
"""Seconds, by kombu, where nothing else is set. Other brokers know when a worker has died."""


def _held_for(seen: Seen) -> timedelta | None:
    usual = _HELD_FOR.get(seen.broker)
    if usual is None:
        return None
    options: Mapping[str, Any] = seen.conf.get("broker_transport_options") or {}
    return timedelta(seconds=float(options.get("visibility_timeout", usual)))


def _live(seen: Seen) -> Iterator[Told]:
    if seen.conf.get("task_always_eager"):
        what = (
            "task_always_eager is on, so every task runs at once, in its caller, at the live price"
        )
        yield "problem", what, "turn it off"


# Batchq's own settings


def _times(seen: Seen) -> Iterator[Told]:
    config = seen.settings
    kept = config.keep_journal * 9 / 10
    in_lane = _DAY if config.flush_after is None else config.flush_after
    in_batch = longest_wait(config) / config.max_attempts - in_lane
    if config.flush_after is None and not config.flush_at:
        what = (
            f"lanes are flushed by their size only (batchq_flush_prompts, {config.flush_prompts:,})"
            ": what is left over waits until its journal runs out, and gets an error"
        )
        yield "problem", what, "set batchq_flush_after or batchq_flush_at"
    for asked, why in _waits_in_lane(config):
        if asked > kept:
            what = f"a prompt waits in its lane for up to {span(asked)} ({why}), and gets an error "
            what += f"after {span(kept)} (batchq_keep_journal)"
            yield "problem", what, "flush more often, or raise batchq_keep_journal"
    if in_batch > kept:
        what = (
            f"one batch may take {span(in_batch)}, and what waits gets an error after {span(kept)} "
            "(batchq_keep_journal), though it is paid for"
        )
        yield "problem", what, f"raise batchq_keep_journal to {span(in_batch * 2)} or more"
    if config.batch_deadline < _DAY:
        what = (
            f"a batch is cancelled after {span(config.batch_deadline)} (batchq_batch_deadline), "
            "and the provider takes up to a day"
        )
        yield "warning", what, "set it to more than 24 hours, or its prompts may be paid for twice"


def _waits_in_lane(config: Settings) -> Iterator[tuple[timedelta, str]]:
    if config.flush_after is not None:
        yield config.flush_after, "batchq_flush_after"
        return
    now = datetime.now(UTC)
    nearest = [one.remaining_estimate(now) for one in config.flush_at]
    if nearest:
        yield min(nearest), "batchq_flush_at"


def _storage(seen: Seen) -> Iterator[Told]:
    if seen.storage_error:
        do = "mount it here and wherever workers run, with room to write, or name another"
        yield "problem", seen.storage_error, do


def _secrets(seen: Seen) -> Iterator[Told]:
    if seen.key_error:
        do = "give this process and the workers the keys that the journal was written with"
        yield "problem", seen.key_error, do
    if seen.settings.show_prompts:
        what = "the text of prompts and answers may be shown to operators (batchq_show_prompts)"
        yield "info", what, "turn it off where they should not read it"


# What is there


def _of_pause(pause: AccountPause) -> Told:
    since, name = span(pause.lasted), pause.account
    what = f"account {name!r} has been paused for {since}, because {pause.because}"
    do = f"{_ENDS[pause.reason]}; `release --account {name}` lets it go on at once"
    return "problem", f"{what}; {_next_try(pause)}", do


def _next_try(pause: AccountPause) -> str:
    if pause.probe:
        return f"batch {pause.probe} tries whether it still is"
    when = f"in {span(pause.next_try)}" if pause.next_try else "with the next prompts"
    return f"a small batch tries {when}"


_ENDS: Mapping[TroubleReason, str] = {
    "credit": "pay for it, or raise its limit at the provider",
    "access": "look at its key in batchq_accounts, and at what the provider lets it do",
    "file": "look at the provider's status page: it goes on by itself",
    "unknown": "look at the provider's status page, and at the batch with `show`",
}


def _lanes(seen: Seen) -> Iterator[Told]:
    if seen.status is None:
        return
    yield from map(_of_pause, seen.status.paused)
    for account in sorted(_gone(seen.status, seen.settings)):
        what = f"account {account!r} is not in batchq_accounts, and prompts wait under it"
        yield "problem", what, "put it back: nothing of it is submitted, polled or fetched"
    for lane in seen.status.lanes:
        if lane.lane.name in seen.stuck:
            what = f"lane {lane.lane.name} is stuck, with {many(lane.prompts, 'prompt')}"
            yield "warning", what, "look at the log of the workers that consume Batchq's queue"
        elif lane.held:
            what = f"lane {lane.lane.name} is held, with {many(lane.prompts, 'prompt')}"
            yield "info", what, "`release` lets it go"
        elif lane.paused is not None:
            what = f"the provider has no room for lane {lane.lane.name}"
            yield "info", what, "it goes on by itself, as batches end"


def _budget(seen: Seen) -> Iterator[Told]:
    if seen.settings.budget is None or seen.status is None:
        return
    budget = int(seen.settings.budget * 10**9)
    reached = budget_reached(seen.spent, budget=budget)
    if reached is not None:
        what = (
            f"{reached} % of today's budget of {dollars(budget)} (batchq_budget) is reached, with "
            "what is under way; nothing is stopped by it"
        )
        yield "warning" if reached >= 100 else "info", what, "hold lanes, or raise it"


def _gone(status: Status, config: Settings) -> set[str]:
    named = {one.lane.account for one in status.lanes}
    return (named | {one.lane.account for one in status.batches}) - set(config.accounts)


def _tasks(seen: Seen) -> Iterator[Told]:
    if seen.status is None:
        return
    if seen.status.overdue:
        longest = longest_wait(seen.settings)
        what = f"{many(seen.status.overdue, 'task')} waited for longer than {span(longest)}"
        yield "warning", what, "`batches --state open` shows what holds them up"
    for one in seen.status.long_runs:
        what = (
            f"the body of {one.name} [{one.task_id}] has run for longer than "
            f"{span(seen.settings.long_run)}"
        )
        yield "warning", what, "look what it waits for, or give it a time limit; the log names it"
    if seen.status.dead:
        what = f"dead are {seen.status.dead:,} tasks or batches: set aside until somebody looks"
        yield "warning", what, "`dead` says why, `retry` tries them again"


def _own_errors(seen: Seen) -> Iterator[Told]:
    for one in seen.status.own_errors if seen.status is not None else ():
        at = datetime.fromtimestamp(one.last / 1000, tz=UTC).isoformat(" ", "seconds")
        what = f"Batchq itself has failed with {one.what}, {many(one.times, 'time')}, last at {at}"
        yield "warning", what, "report it, with the frames in the log; all else goes on"


_RULES: tuple[tuple[str, str, Callable[[Seen], Iterator[Told]]], ...] = (
    ("redis", "Redis is fit to keep the journal", _redis),
    ("memory", "Redis has room for another day at today's pace", _memory),
    ("schedule", "beat's schedule has Batchq's entries", _schedule),
    ("beat", "beat ticks", _beat),
    ("workers", "a worker consumes Batchq's queue", _workers),
    ("provider", "every account answers, and its clock agrees", _provider),
    ("results", "results and chords outlive the wait", _results),
    ("broker", "the broker holds messages for long enough", _broker),
    ("celery", "nothing that the app sets holds up its batched tasks", _own_tasks),
    ("live", "batched tasks go into batches", _live),
    ("times", "the times of the settings fit together", _times),
    ("storage", "large bodies have a place, or none of their own", _storage),
    ("secrets", "keys are where they should be", _secrets),
    ("lanes", "every lane has its account", _lanes),
    ("budget", "today stays within the budget, or has none", _budget),
    ("tasks", "no task is overdue, and nothing is dead", _tasks),
    ("batchq", "Batchq has met no error of its own", _own_errors),
)
