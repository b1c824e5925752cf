"""Leases of a process: one thread renews them all, when the first of them is due and not before."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from batchq.journal import Journal, journal_of
from batchq.journal.lease import Lease, Renewed, start_keeping, stop_keeping
from tests.harness import wait_until

SHORT, LONG = timedelta(seconds=0.6), timedelta(minutes=1)


@pytest.fixture
def journal(redis_url: str) -> Journal:
    app: Celery[Any] = Celery("leases", broker=redis_url, set_as_current=False)
    app.conf.update(result_backend=redis_url)
    return journal_of(app)


@pytest.fixture
def kept() -> Iterator[ExitStack]:
    """What is kept until the end of a test."""
    with ExitStack() as stack:
        yield stack


def take(journal: Journal, duration: timedelta) -> Renewed:
    lease = Lease(journal.store.key("lease", "batch", secrets.token_hex(4)), "mine")
    journal.store.redis.set(lease.key, lease.token, px=duration)
    return start_keeping(journal.store, lease, duration)


def is_renewed(renewed: Renewed, times: int) -> bool:
    """Whether it has been renewed so often, each time before it had run out."""
    assert renewed.is_sure()
    gone = renewed.renewed_at - renewed.lease.since
    return gone >= times * renewed.duration.total_seconds() / 3


def test_a_lease_is_renewed_whatever_begins_and_ends_beside_it(
    journal: Journal, kept: ExitStack
) -> None:
    """The thread sleeps for those that it knows, and is woken for one that is due sooner."""
    slow = take(journal, LONG)
    kept.callback(stop_keeping, slow)
    quick = take(journal, SHORT)
    kept.callback(stop_keeping, quick)

    def is_renewed_beside_others() -> bool:
        stop_keeping(take(journal, LONG))
        return is_renewed(quick, times=4)

    wait_until(is_renewed_beside_others, description="it is renewed four times", every=0.001)
    assert slow.renewed_at == slow.lease.since, "it was not due"


def test_one_that_begins_while_the_thread_sleeps_for_another_is_not_late(
    journal: Journal, kept: ExitStack
) -> None:
    """Runs of a moment, one after the other: the thread sleeps on, for the first of them."""
    for _ in range(50):
        stop_keeping(take(journal, SHORT))
    last = take(journal, SHORT)
    kept.callback(stop_keeping, last)
    wait_until(lambda: is_renewed(last, times=2), description="the last is renewed twice")


def test_a_lease_that_another_has_is_lost(journal: Journal, kept: ExitStack) -> None:
    renewed = take(journal, SHORT)
    kept.callback(stop_keeping, renewed)
    journal.store.redis.set(renewed.lease.key, "another's", px=LONG)
    wait_until(lambda: renewed.lost, description="it is found out")
    assert not renewed.is_sure()
