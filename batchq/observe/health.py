"""Whether a worker or beat may start on the Redis of its journal, and what its log says of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import redis

from batchq.journal import journal_of
from batchq.observe.diagnosis.finding import Finding, Level
from batchq.observe.diagnosis.server import findings, unfit
from batchq.settings.config import settings

if TYPE_CHECKING:
    from celery import Celery

    from batchq.journal.facts import Facts

__all__ = ["refusal", "remember", "report"]

logger = logging.getLogger("batchq.health")

_EVERY = timedelta(minutes=1)
_AGAIN = timedelta(minutes=10)
"""How often a finding that stays is logged, by each process."""


def refusal(app: Celery[Any]) -> str | None:
    """Why a worker or beat must not start on its Redis, in words; None where it may.

    What is only worth knowing is logged. A Redis that is away refuses nobody: it is waited for, and
    looked at when it is there.
    """
    config = settings(app)
    try:
        facts = journal_of(app).store.facts()
    except redis.RedisError as error:
        kind = type(error).__name__
        logger.warning(
            "Redis %s does not answer (%s), so it is not known whether it is safe for a journal; "
            "it is looked at once it is there",
            *(config.shown_redis_url, kind),
            extra={"action": "check"},
        )
        return None
    unsafe = list(unfit(facts))
    if unsafe and not config.allow_unsafe_redis:
        reasons = "\n".join(f"  - {finding}" for finding in unsafe)
        return (
            f"the Redis {config.shown_redis_url} is not safe to keep a journal in.\n{reasons}\n"
            "  Set batchq_allow_unsafe_redis = True to go on all the same."
        )
    _log(app, facts)
    return None


def remember(app: Celery[Any]) -> None:
    """Know from now on which journal this is: who is forked from here sees when it is another."""
    try:
        journal_of(app).adoption.epoch()
    except redis.RedisError:
        return  # It is learned at the first tick.


def report(app: Celery[Any]) -> None:
    """Log what is wrong with the Redis of the journal, once a minute.

    While it runs a process goes on whatever it finds: what is under way is safest finished.
    """
    now, url = time.monotonic(), settings(app).redis_url
    if now >= _next_look.get(url, 0.0):
        _log(app, journal_of(app).store.facts())
        _next_look[url] = now + _EVERY.total_seconds()


def _log(app: Celery[Any], facts: Facts) -> None:
    now, config = time.monotonic(), settings(app)
    for finding in findings(facts):
        # Not by its words: sizes in them change each time.
        key = (config.redis_url, finding.do)
        if now >= _next_log.get(key, 0.0):
            _next_log[key] = now + _AGAIN.total_seconds()
            _say(finding, config.shown_redis_url)


def _say(finding: Finding, url: str) -> None:
    words, level = "%s (the journal is in %s)", _LEVELS[finding.level]
    logger.log(level, words, finding, url, extra={"action": "check"})


_LEVELS: Mapping[Level, int] = {
    "problem": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
}
_next_look: dict[str, float] = {}
_next_log: dict[tuple[str, str], float] = {}
