"""Whether a Redis is fit to keep what has been paid for: what its server says of itself, judged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from batchq.observe.diagnosis.finding import LEVELS, Finding, info, problem, warning

if TYPE_CHECKING:
    from batchq.journal.facts import Facts
    from batchq.observe.diagnosis.seen import Seen
    from batchq.settings.links import Link

__all__ = ["findings", "redis", "unfit"]

OLDEST = (6, 2)
"""Redis before it does not know what the scripts use."""

_CLOCKS = timedelta(seconds=5)
_NEARLY_FULL = 0.9


def redis(seen: Seen) -> Iterator[Finding]:
    """Whether it can be reached, on which way, what it is, and whether it has lost anything."""
    if seen.redis_error:
        what = f"Redis {seen.settings.shown_redis_url} cannot be used: {seen.redis_error}"
        yield problem(what, _mend(seen.redis_error))
    yield from _on_the_way(seen.settings.link)
    if seen.lost_at:
        at = datetime.fromtimestamp(seen.lost_at / 1000, tz=UTC).isoformat(" ", "seconds")
        what = f"the journal was lost, as was found at {at}"
        yield warning(what, "find out who emptied Redis, and send the tasks again that waited then")
    if seen.facts is not None:
        yield from findings(seen.facts)


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


def _on_the_way(link: Link) -> Iterator[Finding]:
    if not link.is_verified:
        what = "the certificate of Redis's server is not looked at (ssl_cert_reqs is none)"
        yield info(what, "set it to required, and ssl_ca_certs, unless its host says otherwise")
    if link.kind == "list":
        what = "Redis's URL is a list: servers that are no replicas of one another are two journals"
        yield info(what, "use Sentinel")


# What the server says of itself


def findings(facts: Facts) -> list[Finding]:
    """What is wrong with a Redis of which this is known, the worst first."""
    rules = (unfit, _file, _disk, _memory, _clock, _synced, _unknown)
    found = [finding for rule in rules for finding in rule(facts)]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def unfit(facts: Facts) -> Iterator[Finding]:
    """What makes a Redis none to keep a journal in: no worker or beat starts on it."""
    policy = facts.info.get("maxmemory_policy") or facts.config.get("maxmemory-policy")
    if policy is not None and policy != "noeviction":
        # volatile-* as well: keys of ours that matter have a time to live.
        what = f"maxmemory-policy is {policy}, which throws away answers when memory is short"
        yield problem(what, "set maxmemory-policy to noeviction")
    if facts.info.get("role", "master") != "master":
        yield problem("Redis is a replica, which takes no writes", "use the URL of its primary")
    told = str(facts.info.get("redis_version", ""))
    parts = re.match(r"(\d+)\.(\d+)", told)
    if parts is not None and (int(parts[1]), int(parts[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        yield problem(f"Redis {told} is too old", f"use {oldest} or newer, or Valkey")


def _file(facts: Facts) -> Iterator[Finding]:
    if facts.info.get("aof_enabled") == 0:
        what = "Redis keeps no append-only file, so a restart forgets what was paid for"
        yield warning(what, "set appendonly to yes")


def _disk(facts: Facts) -> Iterator[Finding]:
    for name in ("aof_last_write_status", "rdb_last_bgsave_status"):
        if facts.info.get(name, "ok") != "ok":
            what = f"Redis's last write to disk failed ({name})"
            yield warning(what, "look for a full disk, and at its log")


def _memory(facts: Facts) -> Iterator[Finding]:
    most, used = (_number(facts.info.get(name)) for name in ("maxmemory", "used_memory"))
    if most and used >= most:
        what = f"Redis's memory is full ({used:,} of {most:,} bytes): it takes nothing new"
        yield problem(what, "raise maxmemory")
    elif most and used >= _NEARLY_FULL * most:
        what = f"Redis's memory is nearly full ({used:,} of {most:,} bytes)"
        yield warning(what, "raise maxmemory")


def _clock(facts: Facts) -> Iterator[Finding]:
    if abs(facts.ahead) > _CLOCKS:
        seconds = abs(facts.ahead).total_seconds()
        which = "ahead of" if facts.ahead > timedelta(0) else "behind"
        # We ask Redis for the time; Celery's ETAs and redeliveries go by the worker's clock.
        what = f"the clock of this machine is {seconds:,.0f} s {which} that of Redis"
        do = "set the clocks right; Celery delivers tasks with an ETA too early, late or twice"
        yield warning(what, do)


def _synced(facts: Facts) -> Iterator[Finding]:
    how = facts.config.get("appendfsync", "always")
    if facts.info.get("aof_enabled") and how != "always":
        what = f"appendfsync is {how}, so a crash of Redis's machine may lose the last writes"
        yield info(what, "set it to always to lose nothing")


def _unknown(facts: Facts) -> Iterator[Finding]:
    unsaid = {
        "INFO": "maxmemory-policy, role, version, append-only file",
        "CONFIG GET": "appendfsync",
        "TIME": "clock",
    }
    for command in facts.unasked:
        what = f"Redis does not let us ask with {command}, so unchecked is: {unsaid[command]}"
        yield info(what, "see to it by hand")


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
