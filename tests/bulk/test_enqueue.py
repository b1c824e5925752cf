"""`enqueue` draws rows as it sends them, waits for room, and sends nothing twice."""

from __future__ import annotations

import io
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from celery import group
from kombu.exceptions import OperationalError

import batchq
from batchq.bulk.window import Window
from batchq.journal import journal_of
from batchq.testing import answers
from tests.apps import bulk
from tests.apps.base import make_app
from tests.harness import ReservedPort, Server, Stack, wait_until

say = bulk.say


def in_queue(server: Server) -> int:
    return int(server.client.llen("celery"))


def test_rows_are_drawn_as_they_are_sent(server: Server) -> None:
    """When the 10,000th row is drawn, all but the last few hundred have been sent."""
    seen = list[int]()

    def rows() -> Iterator[int]:
        for number in range(10_000):
            if number % 2_500 == 0:
                seen.append(number - in_queue(server))
            yield number

    found = say.enqueue(rows(), in_broker=None)
    assert (len(found), found.sent, in_queue(server)) == (10_000, 10_000, 10_000)
    assert max(seen) <= 500


@pytest.mark.usefixtures("nobody_listens")
def test_memory_does_not_grow_with_the_rows(server: Server) -> None:
    say.enqueue(range(2_000), in_broker=None)
    peaks = list[int]()
    for rows in (2_000, 20_000):
        tracemalloc.start()
        found = say.enqueue((number for number in range(rows)), in_broker=None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(found) == rows
        server.client.delete("celery")
    assert peaks[1] < 1.5 * peaks[0]


def test_a_tuple_is_several_arguments_and_all_else_is_one(server: Server) -> None:
    seen = list[tuple[Any, ...]]()
    app = make_app("eager", task_always_eager=True)

    def body(*args: Any) -> None:
        seen.append(args)

    task: Any = app.task(name="seen", shared=False)(batchq.batched_llm_task(body))
    task.enqueue([1, (2, 3), [4, 5], {"six": 6}, "seven", None, ()])
    assert seen == [(1,), (2, 3), ([4, 5],), ({"six": 6},), ("seven",), (None,), ()]


def test_no_more_wait_in_the_broker_than_may(server: Server) -> None:
    """Nobody takes any; then they are taken one by one, and others are sent."""
    drawn = list[int]()

    def rows() -> Iterator[int]:
        for number in range(60):
            drawn.append(number)
            yield number

    sending = threading.Thread(target=lambda: say.enqueue(rows(), in_broker=25))
    sending.start()
    wait_until(lambda: len(drawn) > 25, description="more are drawn than may be sent")
    most = 0
    while sending.is_alive():
        # It looks again and again meanwhile; whatever it sends too much would be there.
        sending.join(0.05)
        most = max(most, in_queue(server))
        server.client.rpop("celery")
    assert (most, len(drawn)) in {(24, 60), (25, 60)}


def test_others_messages_do_not_hold_it_up_when_its_own_have_begun(server: Server) -> None:
    """Of a queue that is full of others' messages, the journal tells which of ours were taken."""
    journal = journal_of(bulk.app)
    server.client.lpush("celery", *["another's"] * 100)
    taken = list[str]()
    window = Window(bulk.app, journal, 3, taken.extend)
    window.add(["a", "b", "c"], ["celery"])
    server.client.hset("{batchq}:task:b", "run", "x")
    window.wait_for(1, lambda: None)
    assert (taken, len(window)) == (["b"], 2)


@pytest.mark.parametrize("signatures", ["", "signatures"])
def test_what_is_known_is_not_sent_again(server: Server, signatures: str) -> None:
    """By a note of what was sent, by the journal, and by a result, each alone."""

    def start(rows: range) -> Any:
        if signatures:
            return batchq.enqueue((say.s(row) for row in rows), key=lambda one: one.args[0])
        return say.enqueue(rows, key=int)

    first = start(range(10))
    assert (first.sent, in_queue(server)) == (10, 10)
    noted = start(range(12))
    assert (noted.sent, noted.known, noted.unseen) == (2, 0, 10)
    ids = list(noted.task_ids)
    assert ids[:10] == list(first.task_ids)
    server.client.delete("{batchq}:enqueued")
    for task_id in ids[:3]:
        server.client.hset(f"{{batchq}}:task:{task_id}", "run", "x")
    for task_id in ids[3:6]:
        bulk.app.backend.store_result(task_id, 1, "SUCCESS")
    again = start(range(12))
    assert (again.sent, again.known, again.unseen) == (6, 6, 0)


def test_what_was_noted_for_a_queue_that_is_empty_is_sent_again(server: Server) -> None:
    """Somebody has purged it, or it was lost with its broker."""
    say.enqueue(range(10), key=int)
    server.client.delete("celery")
    assert say.enqueue(range(10), key=int).sent == 10
    assert say.enqueue(range(10), key=int).unseen == 10
    assert say.enqueue(range(10), key=int, resend=True).sent == 10


def test_a_note_is_gone_when_its_message_was_taken(server: Server) -> None:
    say.enqueue(range(20), key=int, in_broker=100)
    assert server.client.zcard("{batchq}:enqueued") == 20
    assert 0 < server.client.pttl("{batchq}:enqueued") <= 14 * 24 * 3600 * 1000
    server.client.ltrim("celery", 0, 4)
    say.enqueue(range(20, 110), key=int, in_broker=100)
    server.client.ltrim("celery", 0, 4)
    say.enqueue(range(1000, 1100), key=int, in_broker=100)
    assert in_queue(server) == 105


def test_a_key_that_comes_twice_is_one_task(server: Server) -> None:
    found = say.enqueue([1, 2, 1, 3, 2], key=int)
    assert (len(found), found.sent, found.known, in_queue(server)) == (5, 3, 2, 3)


def test_rows_before_one_that_is_wrong_are_sent_and_known(server: Server) -> None:
    """As in a loop of `delay`; the next start goes on behind them."""
    rows: list[Any] = [*range(30), (1, "plain", "too many"), *range(30, 40)]
    with pytest.raises(TypeError, match="positional argument"):
        say.enqueue(rows, key=str)
    assert in_queue(server) == 30
    del rows[30]
    found = say.enqueue(rows, key=str)
    assert (found.sent, found.unseen, in_queue(server)) == (10, 30, 40)


def test_rows_that_end_with_an_error_leave_what_was_sent(server: Server) -> None:
    def rows() -> Iterator[int]:
        yield from range(1_200)
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        say.enqueue(rows(), key=int, in_broker=None)
    assert in_queue(server) == 1_200
    found = say.enqueue(range(1_300), key=int, in_broker=None)
    assert (found.sent, found.unseen) == (100, 1_200)


def test_a_broker_that_is_away_is_an_error_as_of_delay() -> None:
    port = ReservedPort()
    url = f"redis://127.0.0.1:{port.number}/0"
    app = make_app("away", broker_url=url)
    app.conf.task_publish_retry_policy = {"max_retries": 1, "interval_start": 0}

    def body(number: int) -> None: ...

    task: Any = app.task(name="away", shared=False)(batchq.batched_llm_task(body))
    with pytest.raises(OperationalError):
        task.enqueue(range(10))
    app.close()


def test_it_is_refused_in_words_what_cannot_be(server: Server) -> None:
    whole = group([say.s(1), say.s(2)])
    with pytest.raises(TypeError, match="not a group: send that by its own apply_async"):
        batchq.enqueue([whole])
    with pytest.raises(TypeError, match="takes signatures, as classify"):
        batchq.enqueue([3])
    with pytest.raises(TypeError, match="connection and producer of its own"):
        say.enqueue([1], producer=None, connection=None)
    with pytest.raises(ValueError, match="key= gave None"):
        say.enqueue([1], key=lambda _: None)
    with pytest.raises(ValueError, match="from 1 on"):
        say.enqueue([1], in_broker=0)
    other = make_app("other")

    def body() -> None: ...

    theirs: Any = other.task(name="theirs", shared=False)(body)
    with pytest.raises(ValueError, match="another app"):
        batchq.enqueue([say.s(1), theirs.s()])
    other.close()


def test_signatures_of_several_tasks_go_each_to_their_own(server: Server) -> None:
    signatures = [say.s(1), bulk.count.s(2), say.s(3, tone="sour").set(queue="mine", task_id="own")]
    found = batchq.enqueue(signatures, headers={"tenant": "a"})
    assert (found.sent, in_queue(server), server.client.llen("mine")) == (3, 2, 1)
    assert list(found.task_ids)[2] == "own"


def test_results_that_nobody_can_read_are_refused_in_words(server: Server) -> None:
    found = say.enqueue([1, 2], ignore_result=True)
    for read in (found.counts, lambda: next(found.results())):
        with pytest.raises(TypeError, match="ignore their results"):
            read()
    for backend in ("rpc://", "disabled://"):
        app: Any = make_app("unread", result_backend=backend, batchq_redis_url=server.url)

        def body(number: int) -> None: ...

        task: Any = app.task(name="unread", shared=False)(batchq.batched_llm_task(body))
        with pytest.raises(TypeError, match="set result_backend to a Redis or a database"):
            task.enqueue([1, 2], key=int).counts()
        app.close()


def test_nothing_to_send_is_nothing(server: Server) -> None:
    assert len(batchq.enqueue([])) == 0
    found = say.enqueue(iter(()))
    assert (len(found), list(found), found.counts()) == (0, [], {})


def test_eager_tasks_run_at_once_with_their_results() -> None:
    """So that a test suite of yours needs no worker: `batchq.testing` makes tasks eager."""
    with answers("an answer"):
        found = say.enqueue([1, (2, "sour"), (3, "sour")], key=str)
        ended = list(found)
    assert [(one.row, one.state) for one in ended] == [
        (0, "SUCCESS"),
        (1, "SUCCESS"),
        (2, "FAILURE"),
    ]
    assert ended[0].get() == 1
    with pytest.raises(LookupError, match="nothing about 3"):
        ended[2].get()
    assert found.counts() == {"SUCCESS": 2, "FAILURE": 1}


def test_progress_is_shown_where_somebody_looks(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown, piped = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    say.enqueue(range(1_000), in_broker=None)
    monkeypatch.setattr(sys, "stderr", piped)
    say.enqueue(range(10))
    assert piped.getvalue() == ""
    last = shown.getvalue().splitlines()[-1]
    assert "#################### 100%  1,000 sent" in last


def test_a_broker_that_is_no_redis_is_sent_to_one_by_one(stack: Stack) -> None:
    """In one process, whose memory is the broker: what is sent, and what is waited for."""
    code = """
import os, threading, time
import batchq
from celery import Celery
from kombu import Connection
app = Celery("memory", broker="memory://", backend=os.environ["REDIS_URL"])
app.conf.batchq_redis_url = os.environ["REDIS_URL"]
batchq.install(app)

@app.task(name="say")
@batchq.batched_llm_task
def say(number): ...

opened = []
connect = Connection.channel
Connection.channel = lambda self: opened.append(1) or connect(self)
found = say.enqueue(range(20), key=int, priority=3, expires=60)
assert len(opened) <= 4, opened
assert say.enqueue(range(20), key=int).unseen == 20
with app.connection_for_read() as connection:
    queue = connection.SimpleQueue("celery")
    got = [queue.get(block=False) for _ in range(20)]
    assert [one.headers["id"] for one in got] == list(found.task_ids)
    assert {one.properties["priority"] for one in got} == {3}
    assert all(one.headers["expires"] for one in got)
    sending = threading.Thread(target=lambda: say.enqueue(range(100, 140), in_broker=15))
    sending.start()
    most, left = 0, 40
    while left:
        most = max(most, queue.qsize())
        try:
            queue.get(timeout=1).ack()
            left -= 1
        except queue.Empty:
            pass
    sending.join()
    assert 0 < most <= 15, most
print("fine")
"""
    process = stack.process([sys.executable, "-c", code], name="memory")
    assert process.wait(timeout=60) == 0, process.output()
    assert "fine" in process.output()
