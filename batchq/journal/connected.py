"""The journal of an app, connected: once for each process, and once more for who is in a hurry."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from batchq.journal.guides import guided
from batchq.journal.journal import Journal
from batchq.journal.store import Store
from batchq.settings.config import settings
from batchq.settings.record import Settings

__all__ = ["hurried", "journal_of", "ping"]


def journal_of(app: Any) -> Journal:
    """The journal of a Celery app, made once per process: no connection is shared by a fork."""
    config, hurry = settings(app), _hurry.get()
    made = _journals.get((id(config), hurry))
    if made is None or made[0] != os.getpid():
        connected = _connect(config) if hurry is None else _connect_hurried(config, hurry)
        made = _journals[id(config), hurry] = (os.getpid(), Journal(Store(connected, config)))
    return made[1]


_journals: dict[tuple[int, timedelta | None], tuple[int, Journal]] = {}


@contextmanager
def hurried(hurry: timedelta) -> Generator[None]:
    """For who has to answer somebody: a journal taken herein raises where Redis does not reply to
    a call in that time. One taken elsewhere has the patience to see a restart through.
    """
    before = _hurry.set(hurry)
    try:
        yield
    finally:
        _hurry.reset(before)


_hurry: ContextVar[timedelta | None] = ContextVar("batchq_hurry", default=None)


def _connect_hurried(config: Settings, hurry: timedelta) -> redis.Redis:
    # One more try only where a connection has died since it was last used.
    retry = Retry(NoBackoff(), retries=1, supported_errors=(redis.ConnectionError,))
    seconds = hurry.total_seconds()
    return _client(
        config, {"socket_timeout": seconds, "socket_connect_timeout": seconds}, retry=retry
    )


def _client(config: Settings, patience: Mapping[str, Any], **more: Any) -> redis.Redis:
    link = config.link
    parameters = {**guided(link, patience, f"{{{config.key_prefix}}}"), **patience, **more}
    if link.most is None:
        return redis.Redis.from_pool(redis.ConnectionPool(**parameters))
    # A thread that finds all of them in use waits for one, where Celery's own would fail.
    waiting: Any = redis.BlockingConnectionPool
    return redis.Redis.from_pool(waiting(max_connections=link.most, **parameters))


def ping(app: Any) -> None:
    """Ask the journal's Redis whether it is there; a journal would wait long for one that is not.

    Raises redis.RedisError.
    """
    client = _connect_hurried(settings(app), _PATIENCE)
    try:
        client.ping()  # pyright: ignore[reportUnknownMemberType]
    finally:
        client.close()


_PATIENCE = timedelta(seconds=3)
"""How long a person waits for a Redis before they are told that it does not answer."""


def _connect(config: Settings) -> redis.Redis:
    # A half-open connection hangs a client without timeouts for good; every script here may be
    # sent twice without harm, so what was cut is tried again. For about as long as Celery itself
    # tries to store a result (20 s): a restart of Redis is no reason for a task to fail.
    patience = {"socket_timeout": 10, "socket_connect_timeout": 5, "health_check_interval": 15}
    # A unix socket has nothing to keep alive, and redis-py refuses the option.
    if config.link.kind != "socket":
        patience["socket_keepalive"] = True
    said = config.link.parameters
    return _client(
        config,
        {name: said.get(name, value) for name, value in patience.items()},
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), retries=20),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
    )
