"""Notices are posted to where people look, and hold up nothing that works."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

import pytest
from celery.contrib.testing.worker import TestWorkController

from batchq import notify
from batchq.common.seams.queues import is_empty
from batchq.errors import ConfigurationError
from batchq.events import (
    AccountPaused,
    BatchFailed,
    BatchFinished,
    BatchSetAside,
    BudgetNear,
    Event,
    LaneStuck,
    LimitReached,
    TaskDead,
)
from batchq.flow import lookout
from batchq.flow.glance import Glance
from batchq.journal import Journal, journal_of
from batchq.notify import NEWS
from batchq.notify.receivers import receivers
from batchq.notify.step import begin
from batchq.notify.words import message
from batchq.observe import emit
from batchq.settings.config import settings
from tests.apps.base import make_app
from tests.harness import Server, Stack, keys_without_end, wait_until
from tests.journals import DOCUMENTED
from tests.outcomes import _texts

APP = "tests.apps.notices"
SECRET = "canary-T0-B0-9d27"
CANARY = "canary-prompt-5b1e"


_state: Any = import_module("celery._state")
_worker_state: Any = import_module("celery.worker.state")


class Receiver:
    """A webhook on this machine: it keeps what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.let_go = threading.Event()
        self.let_go.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.headers.append(dict(self.headers))
                receiver.posts.append((self.path, json.loads(body)))
                receiver.let_go.wait(20)
                status, headers = receiver.answers.pop(0) if receiver.answers else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.address}/services/{SECRET}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def texts(self) -> list[str]:
        return [body["text"] for _, body in self.posts]

    def stop(self) -> None:
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


class Shop:
    """An app whose ticks the test sends, and that is told of events by the test."""

    def __init__(self, **options: Any) -> None:
        self.app = make_app("shop", **{"batchq_tick": 0.05, **options})
        self.app.finalize()
        # Beat is away, and nobody else is to tick.
        self.app.steps["worker"].clear()

    @property
    def journal(self) -> Journal:
        return journal_of(self.app)

    @property
    def task(self) -> Any:
        return self.app.tasks["batchq.notify"]

    def install(self, *urls: str, **options: Any) -> None:
        notify.install(self.app, urls, **options)
        begin(self.app)

    def tell(self, *events: Event) -> None:
        for event in events:
            emit.tell(self.app, event)

    def tick(self) -> None:
        lookout.look(self.app, Glance(journal_of(self.app)))

    def tick_until(self, condition: Callable[[], Any], description: str) -> None:
        def holds() -> Any:
            self.tick()
            return condition()

        wait_until(holds, description=description, timeout=15)

    def untold(self, number: int = 1) -> list[Event]:
        return self.journal.events.read(after=self.journal.events.notified(number))

    def all_told(self) -> None:
        """Tick until there is nothing left to tell."""
        numbers = range(1, 1 + len(receivers(self.app)))
        self.tick_until(lambda: not any(map(self.untold, numbers)), "everybody has been told")

    def let_pass(self, number: int = 1) -> None:
        """The pause behind a message to a receiver is over."""
        self.journal.store.redis.delete(self.journal.store.key("told", f"notify:{number}"))


@contextmanager
def working(shop: Shop) -> Iterator[None]:
    """Within it, a worker takes Batchq's steps, in a thread of this process."""
    worker = TestWorkController(
        app=shop.app,
        pool="solo",
        hostname=f"{uuid.uuid4().hex}@here",
        queues=["batchq"],
        **dict.fromkeys(("without_heartbeat", "without_mingle", "without_gossip"), True),
    )

    def work() -> None:
        shop.app.set_current()  # In this thread.
        worker.start()

    thread = threading.Thread(target=work)
    thread.start()
    worker.ensure_started()
    # It says so for the whole process.
    _state._set_task_join_will_block(False)
    try:
        yield
    finally:
        _worker_state.should_terminate = 0
        thread.join()
        _worker_state.should_terminate = None


@pytest.fixture
def shop(server: Server) -> Iterator[Shop]:
    """With a worker."""
    shop = Shop()
    with working(shop):
        yield shop


NOW = datetime.now(UTC).replace(microsecond=0)


def finished(batch: str = "b1", *, lane: str = "default|/v1/x|m|", **options: Any) -> BatchFinished:
    took = timedelta(hours=2)
    known: dict[str, Any] = {"batch": batch, "lane": lane, "prompts": 10, "answered": 10}
    return BatchFinished(at=NOW, provider_id="batch_1", took=took, **known | options)


def failed(batch: str = "b2", **options: Any) -> BatchFailed:
    known: dict[str, Any] = {"lane": "l", "prompts": 10, "took": timedelta(minutes=1)}
    known |= {"batch": batch, "provider_id": "batch_2", "reason": "validation"}
    return BatchFailed(at=NOW, **known | options)


# What is posted


def test_each_kind_of_news_is_posted_in_words(shop: Shop, receiver: Receiver) -> None:
    shop.install(receiver.url)
    news: list[Event] = [
        finished(cost=12_340_000_000),
        failed(codes=("invalid_json_line",)),
        TaskDead(at=NOW, task_id="t1", name="shop.ask", kills=3),
        BatchSetAside(at=NOW, batch="b9", lane="l", prompts=3, kills=3),
        LimitReached(
            at=NOW, account="default", model="m", lane="l", batch="b3", reason="throttled"
        ),
        BudgetNear(
            at=NOW, day="2026-01-31", percent=80, spent=8 * 10**9, under_way=0, budget=10**10
        ),
        AccountPaused(
            at=NOW, account="a", reason="credit", code="insufficient_quota", lane="l", batch="b4"
        ),
        LaneStuck(
            at=NOW, lane="l", prompts=5, tokens=9, oldest=timedelta(hours=3), why="no_account"
        ),
    ]
    assert tuple(event.kind for event in news) == NEWS
    shop.tell(*news)
    shop.tick_until(lambda: receiver.posts, "it is posted")
    ((path, body),) = receiver.posts
    assert path == f"/services/{SECRET}"
    ended, refused, dead, *others = body["text"].removeprefix("shop:\n").splitlines()
    assert ended == (
        "• batch b1 of lane default|/v1/x|m| (10 prompts) is finished: 10 answered, after 2 h, "
        "for $12.34"
    )
    assert refused == (
        "• batch b2 of lane l (10 prompts) failed, its file was refused (invalid_json_line): "
        "0 answered, after 1 min"
    )
    assert dead == (
        "• task shop.ask [t1] killed its worker 3 times in a row; "
        "batchq.retry(app, 't1') tries it again"
    )
    assert others == [
        f"• {news[3]}",
        "• account default for m is throttled: batch b3 waits",
        "• 80 % of the budget of $10.00 for 2026-01-31 is reached: $8.00 spent",
        f"• {news[6]}",
        "• lane l is stuck, its account is not in the settings: 5 prompts, the oldest for 3 h",
    ]
    assert receiver.headers[0]["Content-Type"] == "application/json"


def test_one_event_is_one_line(shop: Shop, receiver: Receiver) -> None:
    shop.install(receiver.url)
    shop.tell(finished())
    shop.tick_until(lambda: receiver.posts, "it is posted")
    assert receiver.texts[0].startswith("shop: batch b1 of lane")
    shop.all_told()
    assert len(receiver.posts) == 1, "and not again"


def test_many_that_end_within_seconds_are_one_message(shop: Shop, receiver: Receiver) -> None:
    shop.install(receiver.url)
    lanes = ["a", "a", "b"] * 20
    shop.tell(*(finished(f"b{n}", lane=lane, cost=10**9) for n, lane in enumerate(lanes)))
    shop.tick_until(lambda: receiver.posts, "it is posted")
    assert receiver.texts == [
        "shop: batch finished, 60 times: 600 prompts answered, $60.00 (40 of a, 20 of b)"
    ]


def test_after_a_message_there_is_a_pause_in_which_news_are_gathered(
    server: Server, receiver: Receiver
) -> None:
    shop = Shop(batchq_tick=600)
    shop.install(receiver.url)
    with working(shop):
        shop.tell(finished("b1"))
        shop.all_told()
        pause = shop.journal.store.redis.pttl(shop.journal.store.key("told", "notify:1"))
        assert 600_000 < pause <= 1_200_000
        for batch in ("b2", "b3"):
            shop.tell(finished(batch))
            shop.tick()
        assert len(shop.untold()) == 2
        shop.let_pass()
        shop.all_told()
    assert len(receiver.posts) == 2
    assert "b2" in receiver.texts[1]
    assert "b3" in receiver.texts[1]


def test_what_is_not_asked_for_is_not_posted(shop: Shop, receiver: Receiver) -> None:
    shop.install(receiver.url, on=("batch_failed",))
    shop.tell(finished(), failed("b9"), finished())
    shop.tick_until(lambda: receiver.posts, "it is posted")
    assert len(receiver.posts) == 1
    assert receiver.texts[0].startswith("shop: batch b9")


def test_a_failure_for_want_of_room_is_said_by_the_limit(shop: Shop, receiver: Receiver) -> None:
    shop.install(receiver.url)
    shop.tell(failed(reason="no_room"))
    shop.all_told()
    assert receiver.posts == []


def test_what_happened_before_is_no_news(shop: Shop, receiver: Receiver) -> None:
    shop.tell(finished("old"))
    shop.install(receiver.url)
    shop.tick()
    shop.tell(finished("new"))
    shop.tick_until(lambda: receiver.posts, "it is posted")
    assert "old" not in receiver.texts[0]


def test_nobody_can_call_the_whole_channel(shop: Shop, receiver: Receiver) -> None:
    """A lane's label is the user's own text, and Slack reads angle brackets as commands."""
    shop.install(receiver.url)
    shop.tell(finished(lane="default|/v1/x|m|<!channel>&co"))
    shop.tick_until(lambda: receiver.posts, "it is posted")
    assert "&lt;!channel&gt;&amp;co" in receiver.texts[0]
    assert "<" not in receiver.texts[0]


def test_a_message_is_no_longer_than_services_take() -> None:
    lane = "x" * 900
    text = message([finished(lane=lane) for _ in range(3)], "shop")
    assert len(text) == 1900
    assert text.endswith("…")


# Who does not listen


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((503, {}), "HTTP 503"),
        ((429, {"Retry-After": "0"}), "HTTP 429"),
        ((500, {"Retry-After": "soon"}), "HTTP 500"),
    ],
)
def test_a_receiver_that_is_out_of_order_is_told_later(
    shop: Shop,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    answer: tuple[int, dict[str, str]],
    why: str,
) -> None:
    receiver.answers = [answer] * 2
    shop.install(receiver.url)
    shop.tell(finished("b1"))
    shop.tick_until(lambda: receiver.posts, "it is tried")
    shop.tell(finished("b2"))
    shop.all_told()
    assert len(receiver.posts) == 3
    assert "b1" in receiver.texts[2]
    assert "b2" in receiver.texts[2]
    assert f"receiver 1 of notices is not told yet ({why})" in caplog.text
    assert SECRET not in caplog.text


def test_who_takes_nothing_for_an_hour_is_told_no_more_of_it(
    shop: Shop, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says what it was not told. What comes after that is told."""
    shop.task.max_retries = 1
    receiver.answers = [(503, {})] * 2
    shop.install(receiver.url)
    shop.tell(failed("b1"))
    shop.all_told()
    assert len(receiver.posts) == 2
    shown = [record for record in caplog.records if "is not told any more" in record.message]
    assert [record.message.partition("more: ")[2] for record in shown] == [receiver.texts[1]]
    assert "Traceback" not in caplog.text
    shop.let_pass()
    shop.tell(finished("b2"))
    shop.all_told()
    assert receiver.texts[2].startswith("shop: batch b2")


def test_a_task_that_is_lost_is_sent_again(server: Server, receiver: Receiver) -> None:
    """The message is a wake-up, and what is to be told is in the journal."""
    shop = Shop()
    shop.install(receiver.url)
    shop.tell(finished())
    shop.tick()
    assert shop.journal.store.redis.delete("batchq") == 1
    with working(shop):
        shop.let_pass()
        shop.all_told()
    assert len(receiver.posts) == 1


def test_a_task_that_comes_twice_tells_once(shop: Shop, receiver: Receiver) -> None:
    shop.install(receiver.url)
    shop.tell(finished())
    for number in (1, 1, 2):
        shop.task.delay(number)
    wait_until(lambda: is_empty(shop.app, "batchq"), description="they are taken")
    shop.tell(finished("b2"))
    shop.all_told()
    assert ["b1" in text for text in receiver.texts] == [True, False]


@pytest.mark.parametrize("status", [302, 400, 404, 410])
def test_what_is_refused_is_dropped_and_later_news_come(
    shop: Shop, receiver: Receiver, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """One message that is refused for good would stand before all that come after it."""
    elsewhere = {"Location": f"http://{receiver.address}/elsewhere"}
    receiver.answers = [(status, elsewhere)]
    shop.install(receiver.url)
    shop.tell(finished("b1"))
    shop.tick_until(lambda: receiver.posts, "it is refused")
    shop.tell(finished("b2"))
    shop.tick_until(lambda: len(receiver.posts) == 2, "the next is posted")
    assert "b1" not in receiver.texts[1]
    assert {path for path, _ in receiver.posts} == {f"/services/{SECRET}"}, "and nowhere else"
    assert f"receiver 1 of notices has refused a message, which is dropped (HTTP {status})" in (
        caplog.text
    )


def test_a_receiver_that_is_away_is_told_when_it_is_back(
    shop: Shop, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving() as gone:
        url = gone.url
    shop.install(url, receiver.url)
    shop.tell(finished())
    shop.tick_until(lambda: receiver.posts, "the other is told")
    shop.tick_until(lambda: "ConnectionRefusedError" in caplog.text, "it is logged")
    assert SECRET not in caplog.text
    assert len(shop.untold(1)) == 1


def test_two_workers_post_once(server: Server, receiver: Receiver) -> None:
    """Their ticks come side by side; the first to say that a receiver is told sends the message."""
    shop, other = Shop(), Shop()
    for each in (shop, other):
        each.install(receiver.url)
    receiver.let_go.clear()
    with working(shop):
        shop.tell(finished())
        shop.tick()
        wait_until(lambda: receiver.posts, description="one is at it")
        for _ in range(3):
            other.tick()
        receiver.let_go.set()
        other.all_told()
    assert len(receiver.posts) == 1


def test_redis_knows_how_far_it_came_and_not_the_url(server: Server, receiver: Receiver) -> None:
    shop = Shop()
    shop.install(receiver.url)
    shop.tell(finished())
    shop.tick()
    assert b"batchq" in dict(_texts(shop.journal.store.redis)), "its message waits"
    with working(shop):
        shop.all_told()
        assert len(receiver.posts) == 1
        assert not [text for _, text in _texts(shop.journal.store.redis) if SECRET.encode() in text]
        assert keys_without_end(server.client, documented=DOCUMENTED) == []
        shop.journal.store.redis.delete(shop.journal.store.key("notified"))
        shop.let_pass()
        shop.tick()
        assert shop.untold() == [], "what is forgotten is not told again"


# Apprise


def test_apprise_posts_what_is_no_webhook(
    shop: Shop, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("apprise")
    caplog.set_level(1)
    shop.install(f"json://{receiver.address}/{SECRET}")
    shop.tell(finished(lane="default|/v1/x|m|<b>"))
    shop.tick_until(lambda: receiver.posts, "it is posted")
    ((path, body),) = receiver.posts
    assert path == f"/{SECRET}"
    assert body["message"].startswith("shop: batch b1 of lane default|/v1/x|m|<b> (10 prompts)")
    assert SECRET not in caplog.text


def test_apprise_fails_as_others_do(
    shop: Shop, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("apprise")
    caplog.set_level(1)
    receiver.answers = [(500, {})]
    shop.install(f"json://{receiver.address}/{SECRET}")
    shop.tell(finished())
    shop.tick_until(lambda: len(receiver.posts) == 2, "it is tried again")
    assert "receiver 1 of notices is not told yet (Apprise)" in caplog.text
    assert SECRET not in caplog.text


# How it is set up


@pytest.mark.parametrize(
    "url",
    [
        *("", "hooks.slack.com/services/x", "https://", "http://[::1", "https://a b/c"),
        *("https://user:canary-secret@host/x", "http://host:99999/x", "https://host/\nx"),
        *("nothing-like-it://canary-secret", "mailto://"),
    ],
)
def test_a_url_that_is_none_is_refused_without_showing_it(shop: Shop, url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        notify.install(shop.app, ["http://fine/", url])
    assert "URL 2" in str(caught.value)
    assert "canary" not in f"{caught.value} {caught.value.args}"
    assert receivers(shop.app) == []


def test_a_kind_that_is_none_is_refused(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match=r"Did you mean batch_failed\?"):
        notify.install(shop.app, "http://fine/", on=["batch_fails"])


def test_a_receiver_does_not_show_its_url(shop: Shop) -> None:
    notify.install(shop.app, f"https://hooks.example/{SECRET}")
    assert SECRET not in repr(receivers(shop.app))


def test_the_setting_says_where_the_urls_come_from(
    server: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as second:
        monkeypatch.setenv("SHOP_URLS", f" {receiver.url}\n{second.url} ")
        shop = Shop(batchq_notify="env:SHOP_URLS")
        begin(shop.app)
        shop.tell(finished())
        with working(shop):
            shop.tick_until(lambda: receiver.posts and second.posts, "both are told")


def test_a_url_in_the_place_of_where_it_comes_from_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(make_app("wrong", batchq_notify=f"https://hooks.example/{SECRET}"))
    assert str(caught.value).startswith(
        'batchq_notify: accepted is where the URLs come from: "env:'
    )
    assert SECRET not in repr(caught.value.args)


def test_a_worker_does_not_start_without_its_urls(stack: Stack) -> None:
    worker = stack.worker(APP, environment={"BATCHQ_TEST_URLS": " "}, wait=False)
    assert worker.wait() == 1
    assert "batchq_notify = 'env:BATCHQ_TEST_URLS': no URL can be read from it" in worker.output()


# In a worker


def test_a_worker_posts_what_its_steps_have_done(stack: Stack, receiver: Receiver) -> None:
    """From a process of its pool, that was forked before there was anything to post."""
    environment = {"BATCHQ_TEST_URLS": receiver.url}
    worker = stack.worker(APP, environment=environment)
    beat = stack.beat(APP, environment=environment)
    ask = stack.app(APP).tasks[f"{APP}.ask"]
    receiver.answers = [(503, {})]
    assert ask.delay(f"{CANARY} 1").get(timeout=30)
    wait_until(lambda: len(receiver.posts) == 2, description="it is posted, at the second try")
    journal = journal_of(stack.app(APP))
    (event,) = ended(journal)
    assert receiver.texts == [f"notices: {event}"] * 2
    assert CANARY not in "".join(receiver.texts)
    for process in (worker, beat):
        assert SECRET not in process.output()
    assert "Traceback" not in worker.output()
    assert not [text for _, text in _texts(journal.store.redis) if SECRET.encode() in text]


def test_a_slow_receiver_holds_up_no_step(stack: Stack, receiver: Receiver) -> None:
    receiver.let_go.clear()
    with receiving() as quick:
        environment = {"BATCHQ_TEST_URLS": f"{receiver.url} {quick.url}"}
        stack.worker(APP, environment=environment)
        stack.beat(APP, environment=environment)
        ask = stack.app(APP).tasks[f"{APP}.ask"]
        assert ask.delay("1").get(timeout=30)
        wait_until(lambda: receiver.posts, description="it holds on")
        wait_until(lambda: quick.posts, description="its neighbour is told")
        assert ask.delay("2").get(timeout=30)
        journal = journal_of(stack.app(APP))
        wait_until(lambda: len(ended(journal)) == 2, description="both have ended")
        receiver.let_go.set()
        batches = [event.batch for event in ended(journal)]
        wait_until(
            lambda: all(any(batch in text for text in receiver.texts) for batch in batches),
            description="it is told of both",
            timeout=60,
        )


def ended(journal: Journal) -> list[BatchFinished]:
    return [event for event in journal.events.read() if isinstance(event, BatchFinished)]
