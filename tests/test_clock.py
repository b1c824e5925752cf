"""The journal's clock, and how a test moves it: for all at once, and nowhere but in tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis

from batchq.events import BatchEmptied
from batchq.journal import Journal
from batchq.journal.clock import Clock
from batchq.journal.events import _read
from batchq.journal.store import Store
from batchq.settings.config import settings
from tests.apps.base import make_app
from tests.harness import ROOT, Server, Stack
from tests.journals import LANE, capture

HOUR = timedelta(hours=1)
PREFIX = "{batchq}"


@pytest.fixture
def journal(server: Server) -> Iterator[Journal]:
    with redis.Redis.from_url(server.url) as client:
        yield Journal(Store(client, settings(make_app("clock"))))


def hours(journal: Journal, server: Server) -> float:
    """By how much the journal's clock is ahead of the server's."""
    seconds, _ = server.client.time()
    return round((journal.clock.now() / 1000 - seconds) / 3600, 1)


def test_it_is_the_server_s_until_it_is_moved(journal: Journal, server: Server) -> None:
    assert hours(journal, server) == 0
    journal.clock.advance(26 * HOUR)
    assert hours(journal, server) == 26
    journal.clock.advance(HOUR)
    assert hours(journal, server) == 27


def test_scripts_and_other_processes_have_the_same_time(journal: Journal, server: Server) -> None:
    journal.clock.advance(26 * HOUR)
    with redis.Redis.from_url(server.url) as client:
        other = Journal(Store(client, settings(make_app("other"))))
        asked = capture(other)
        assert abs(other.clock.now() - journal.clock.now()) < HOUR / timedelta(milliseconds=1)
        (lane,) = journal.lanes.all()
        assert lane.oldest < HOUR
        journal.clock.advance(2 * HOUR)
        (lane,) = other.lanes.all()
        assert 2 * HOUR <= lane.oldest < 3 * HOUR
    assert asked.custom_ids


def test_events_are_in_the_journal_s_time_and_in_order(journal: Journal) -> None:
    """Ids that Redis gives are of its own time: those of an hour that was skipped came too early
    for who follows them from now on.
    """

    def note(number: int) -> str:
        at = journal.clock.now()
        batch, lane = f"b{number}", LANE.name
        event = BatchEmptied(
            at=datetime.fromtimestamp(at / 1000, UTC), batch=batch, lane=lane, prompts=1
        )
        return journal.events.note(event)

    first = note(1)
    journal.clock.advance(26 * HOUR)
    behind = journal.events.last_id()
    later = [note(number) for number in range(2, 100)]
    assert behind == first
    assert [event.id for event in journal.events.read()] == [first, *later]
    assert int(later[0].partition("-")[0]) - int(first.partition("-")[0]) > 25 * 3_600_000
    # A clock that is set back, as after a failover, stops nobody.
    journal.store.redis.delete(f"{PREFIX}:clock")
    assert note(100) > later[-1]
    assert len(_read(journal.store.redis.xrange(journal.store.key("events")))) == 100


def test_what_has_an_end_comes_nearer_to_it_but_for_leases(journal: Journal) -> None:
    asked = capture(journal)
    lease = journal.runs.lease("runs")
    journal.runs.claim("runs", token=lease.token, nesting=0, retries=0)
    task, bodies = journal.store.task_key(asked.task_id), journal.store.bodies_key(asked.task_id)
    before = journal.store.redis.ttl(task)
    held = journal.store.redis.pttl(lease.key)
    journal.clock.advance(26 * HOUR)
    for key in (task, bodies):
        assert before - 27 * 3600 < journal.store.redis.ttl(key) <= before - 26 * 3600
    assert 0 < journal.store.redis.pttl(lease.key) <= held
    journal.clock.advance(timedelta(days=14))
    assert journal.waiting.count() == 1, "an index has no end"
    assert journal.store.redis.exists(task) <= 1


def test_beat_has_gone_on_ticking(journal: Journal) -> None:
    journal.beat.note()
    journal.clock.advance(26 * HOUR)
    seen = journal.beat.since()
    assert seen is not None
    assert seen < HOUR


def test_the_emulator_s_goes_along(stack: Stack) -> None:
    before = stack.emulator.ledger()
    stack.advance(26 * HOUR)
    assert stack.emulator.ledger() == before, "it has no more than another time"
    with redis.Redis.from_url(stack.server.url) as client:
        ahead = Clock(client, PREFIX).now() / 1000 - stack.redis.time()[0]
    assert round(ahead / 3600) == 26
    assert (
        round((stack.emulator._ask("GET", "/emulator/clock")["now"] - stack.redis.time()[0]) / 3600)
        == 26
    )


def test_production_neither_moves_it_nor_looks_whether_it_was_moved(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.client.set(f"{PREFIX}:clock", 26 * 3_600_000)
    monkeypatch.delenv("BATCHQ_TEST_CLOCK")
    with redis.Redis.from_url(server.url) as client:
        journal = Journal(Store(client, settings(make_app("production"))))
        assert hours(journal, server) == 0
        capture(journal)
        (lane,) = journal.lanes.all()
        assert timedelta(0) <= lane.oldest < HOUR
        with pytest.raises(RuntimeError, match="BATCHQ_TEST_CLOCK"):
            journal.clock.advance(HOUR)


def test_one_script_asks_for_the_time() -> None:
    scripts = (ROOT / "batchq/journal/lua").rglob("*.lua")
    asks = [script.name for script in scripts if '"TIME"' in script.read_text()]
    assert asks == ["now.lua"]
