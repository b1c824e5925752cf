"""A message on its way back is lost: a Redis broker, or a worker, is killed as it is taken."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from batchq.journal import Journal, journal_of
from batchq.journal.store import Store
from batchq.prompt import pack
from batchq.settings.config import settings
from tests.apps import journey, outcomes
from tests.harness import Server, wait_until
from tests.journals import LANE, capture, claim, outcome
from tests.outcomes import World

LONG, SOON = timedelta(minutes=10), timedelta(milliseconds=-1)


@pytest.fixture
def journal(redis_url: str) -> Journal:
    return Journal(Store(journal_of(journey.app).store.redis, settings(journey.app)))


def sent(journal: Journal, task_id: str, *, ago: int) -> None:
    """A task has its answer, and its message was sent so many milliseconds ago."""
    (custom_id,) = capture(journal, task_id=task_id).custom_ids
    journal.answers.add(LANE, [(custom_id, outcome())])
    journal.resuming.sent([task_id])
    journal.store.redis.zadd(journal.store.key("resuming"), {task_id: journal.clock.now() - ago})


def test_a_message_that_was_overtaken_is_sent_again_soon(journal: Journal) -> None:
    """Ten minutes passed until a message was sent again that had been lost among thousands."""
    sent(journal, "lost", ago=20_000)
    sent(journal, "later", ago=1_000)
    assert journal.resuming.look().stuck(unclaimed_for=LONG, overtaken_for=SOON) == []
    claim(journal, "later")
    assert journal.resuming.look().stuck(unclaimed_for=LONG, overtaken_for=SOON) == ["lost"]
    assert (
        journal.resuming.look().stuck(unclaimed_for=LONG, overtaken_for=timedelta(seconds=30)) == []
    )


def test_messages_of_one_moment_overtake_each_other(journal: Journal) -> None:
    sent(journal, "first", ago=4_000)
    sent(journal, "second", ago=1_000)
    claim(journal, "second")
    assert journal.resuming.look().stuck(unclaimed_for=LONG, overtaken_for=SOON) == []


def test_a_message_without_a_run_is_looked_for_ever_more_seldom(journal: Journal) -> None:
    sent(journal, "t", ago=12_000)
    assert journal.resuming.look().unclaimed(longer_than=timedelta(seconds=10), at_most=9) == ["t"]
    journal.resuming.sent(["t"])
    journal.store.redis.zadd(journal.store.key("resuming"), {"t": journal.clock.now() - 12_000})
    assert journal.resuming.look().unclaimed(longer_than=timedelta(seconds=10), at_most=9) == []
    assert journal.resuming.look().unclaimed(longer_than=timedelta(seconds=5), at_most=9) == ["t"]
    claim(journal, "t")
    assert journal.resuming.look().unclaimed(longer_than=timedelta(seconds=5), at_most=9) == []


def test_a_restart_of_redis_is_waited_for(server: Server) -> None:
    """A body that began or asked while Redis was away for a second failed with a ConnectionError.

    Celery waits for its Redis; a task that would not have failed without us must not with us.
    """
    journal = journal_of(journey.app)
    journal.clock.now()
    server.kill()
    with ThreadPoolExecutor(1) as pool:
        claimed = pool.submit(claim, journal, "t")
        since = time.monotonic()
        wait_until(lambda: time.monotonic() > since + 2, description="Redis was away for a while")
        assert not claimed.done()
        server.start()
        assert claimed.result(timeout=10)[1].word == "CLAIMED"


def test_the_last_message_of_all_is_missed_when_its_queue_is_empty(world: World) -> None:
    """Nothing overtakes it, and the task waited for ten minutes."""
    world.emulator.fault("slow", call="create", seconds=0.5)
    world.ask(1)
    task_id = world.sent[0].id
    deaf = json.loads(world.journal.tasks.messages([task_id])[0] or b"") | {"routing_key": "deaf"}
    key = world.journal.store.task_key(task_id)
    world.journal.store.redis.hset(key, "message", pack(json.dumps(deaf).encode()))
    client = world.stack.redis
    resuming = world.journal.store.key("resuming")
    # Below 0 it is about to be sent, and the time of that is still to be written.
    wait_until(
        lambda: (client.zscore(resuming, task_id) or 0) > 0, description="the message is sent"
    )
    waiting = client.llen("deaf")
    late = {task_id: world.journal.clock.now() - 60_000}
    world.journal.store.redis.zadd(resuming, late)
    outcomes.app.tasks["batchq.rescue"].apply()
    assert client.llen("deaf") == waiting, "a message that waits in its queue is not sent again"
    client.delete("deaf")
    wait_until(lambda: client.llen("deaf"), description="it is sent again", timeout=10)
    client.lmove("deaf", "celery")
    assert world.errors() == []
    world.check(batches=1)
