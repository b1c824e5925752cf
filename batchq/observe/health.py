"""Whether a Redis is fit to keep what has been paid for: what the server says of itself, judged.

The judgement is pure: facts go in, findings come out.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import redis

from batchq.journal import journal_of
from batchq.journal.facts import Facts
from batchq.settings.config import settings

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["Finding", "examine", "findings", "refusal", "remember", "report"]

logger = logging.getLogger("batchq.health")

Level = Literal["unsafe", "warning", "info"]

OLDEST = (6, 2)
"""Redis before it does not know what the scripts use."""

_CLOCKS = timedelta(seconds=5)
_NEARLY_FULL = 0.9
_EVERY = timedelta(minutes=1)
_AGAIN = timedelta(minutes=10)
"""How often a finding that stays is logged, by each process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about the Redis of the journal. With an ``unsafe`` one no worker or beat starts.

    ``what`` was found, and what to ``do`` about it.
    """

    level: Level
    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.what}: {self.do}"


def findings(facts: Facts) -> list[Finding]:
    """What is wrong with a Redis of which this is known, the worst first."""
    rules = (_eviction, _role, _version, _file, _disk, _memory, _clock, _synced, _unknown)
    found = [finding for rule in rules for finding in rule(facts)]
    return sorted(found, key=lambda finding: ("unsafe", "warning", "info").index(finding.level))


def _eviction(facts: Facts) -> Iterator[Finding]:
    policy = facts.info.get("maxmemory_policy") or facts.config.get("maxmemory-policy")
    if policy is not None and policy != "noeviction":
        # volatile-* as well: keys of ours that matter have a time to live.
        what = f"maxmemory-policy is {policy}, which throws away answers when memory is short"
        yield Finding(level="unsafe", what=what, do="set maxmemory-policy to noeviction")


def _role(facts: Facts) -> Iterator[Finding]:
    if facts.info.get("role", "master") != "master":
        what = "it is a replica, which takes no writes"
        yield Finding(level="unsafe", what=what, do="use the URL of its primary")


def _version(facts: Facts) -> Iterator[Finding]:
    told = str(facts.info.get("redis_version", ""))
    parts = re.match(r"(\d+)\.(\d+)", told)
    if parts is not None and (int(parts[1]), int(parts[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        what = f"it is Redis {told}, which is too old"
        yield Finding(level="unsafe", what=what, do=f"use {oldest} or newer, or Valkey")


def _file(facts: Facts) -> Iterator[Finding]:
    if facts.info.get("aof_enabled") == 0:
        what = "it keeps no append-only file, so a restart forgets what was paid for"
        yield Finding(level="warning", what=what, do="set appendonly to yes")


def _disk(facts: Facts) -> Iterator[Finding]:
    for name in ("aof_last_write_status", "rdb_last_bgsave_status"):
        if facts.info.get(name, "ok") != "ok":
            what = f"its last write to disk failed ({name})"
            yield Finding(level="warning", what=what, do="look for a full disk, and at its log")


def _memory(facts: Facts) -> Iterator[Finding]:
    most, used = (_number(facts.info.get(name)) for name in ("maxmemory", "used_memory"))
    if most and used >= most:
        what = f"its memory is full ({used:,} of {most:,} bytes): it takes nothing new"
        yield Finding(level="warning", what=what, do="raise maxmemory")
    elif most and used >= _NEARLY_FULL * most:
        what = f"its memory is nearly full ({used:,} of {most:,} bytes)"
        yield Finding(level="warning", what=what, do="raise maxmemory")


def _clock(facts: Facts) -> Iterator[Finding]:
    if abs(facts.ahead) > _CLOCKS:
        seconds = abs(facts.ahead).total_seconds()
        which = "ahead of" if facts.ahead > timedelta(0) else "behind"
        # We ask Redis for the time; Celery's ETAs and redeliveries go by the worker's clock.
        what = f"the clock of this machine is {seconds:,.0f} s {which} that of Redis"
        do = "set the clocks right; Celery delivers tasks with an ETA too early, late or twice"
        yield Finding(level="warning", what=what, do=do)


def _synced(facts: Facts) -> Iterator[Finding]:
    how = facts.config.get("appendfsync", "always")
    if facts.info.get("aof_enabled") and how != "always":
        what = f"appendfsync is {how}, so a crash of its machine may lose the last writes"
        yield Finding(level="info", what=what, do="set it to always to lose nothing")


def _unknown(facts: Facts) -> Iterator[Finding]:
    unsaid = {
        "INFO": "maxmemory-policy, role, version, append-only file",
        "CONFIG GET": "appendfsync",
        "TIME": "clock",
    }
    for command in facts.unasked:
        what = f"it does not let us ask with {command}, so unchecked is: {unsaid[command]}"
        yield Finding(level="info", what=what, do="see to it by hand")


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


# Of an app


def examine(app: Celery[Any]) -> list[Finding]:
    """What is wrong with the Redis that keeps this app's journal."""
    return findings(journal_of(app).store.facts())


def refusal(app: Celery[Any]) -> str | None:
    """Why a worker or beat must not start on its Redis, in words; None where it may.

    What is only worth knowing is logged. A Redis that is away refuses nobody: it is waited for, and
    looked at when it is there.
    """
    config = settings(app)
    try:
        found = examine(app)
    except redis.RedisError as error:
        kind = type(error).__name__
        logger.warning(
            "Redis %s does not answer (%s), so it is not known whether it is safe for a journal; "
            "it is looked at once it is there",
            *(config.shown_redis_url, kind),
            extra={"action": "check"},
        )
        return None
    unsafe = [finding for finding in found if finding.level == "unsafe"]
    if unsafe and not config.allow_unsafe_redis:
        reasons = "\n".join(f"  - {finding}" for finding in unsafe)
        return (
            f"the Redis {config.shown_redis_url} is not safe to keep a journal in.\n{reasons}\n"
            "  Set batchq_allow_unsafe_redis = True to go on all the same."
        )
    report(app, found)
    return None


def remember(app: Celery[Any]) -> None:
    """Know from now on which journal this is: who is forked from here sees when it is another."""
    try:
        journal_of(app).adoption.epoch()
    except redis.RedisError:
        return  # It is learned at the first tick.


def report(app: Celery[Any], found: Iterable[Finding] | None = None) -> None:
    """Log what is wrong with the Redis of the journal; without ``found``, once a minute.

    While it runs a process goes on whatever it finds: what is under way is safest finished.
    """
    now = time.monotonic()
    config = settings(app)
    if found is None:
        if now < _next_look.get(config.redis_url, 0.0):
            return
        found = examine(app)
        _next_look[config.redis_url] = now + _EVERY.total_seconds()
    for finding in found:
        # Not by its words: sizes in them change each time.
        key = (config.redis_url, finding.do)
        if now >= _next_log.get(key, 0.0):
            _next_log[key] = now + _AGAIN.total_seconds()
            logger.log(
                _LEVELS[finding.level],
                "Redis %s: %s",
                *(config.shown_redis_url, finding),
                extra={"action": "check"},
            )


_LEVELS = {"unsafe": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}
_next_look: dict[str, float] = {}
_next_log: dict[tuple[str, str], float] = {}
