"""Webhooks: what is believed, what is refused, and what one does to the poll of its batch."""

from __future__ import annotations

import base64
import json
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from batchq.decide.poll import News, pause_between_polls
from batchq.errors import ConfigurationError
from batchq.flow.poll import poll
from batchq.flow.rescue import rescue
from batchq.journal import BatchRecord, Journal, journal_of
from batchq.overview import status
from batchq.prompt import Lane
from batchq.settings.account import Account
from batchq.settings.config import settings
from batchq.webhook import LARGEST, Answer, handle, receive
from tests.apps.base import make_app
from tests.harness import Emulator, Server, keys_without_end, wait_until
from tests.journals import DOCUMENTED, LANE, capture
from tests.test_flow import Steps
from tests.webhooks import OTHER_SECRET, SECRET, event, signed

THEIRS = "batch_67f00d"
FIRST = "batch-1"


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET)


class Desk:
    """An app with a batch at its provider, whose next poll is an hour away."""

    def __init__(self, server: Server, **options: Any) -> None:
        options = {"batchq_poll_longest": 3600, **options}
        self.server, self.app = server, make_app("webhook", **options)

    @property
    def journal(self) -> Journal:
        return journal_of(self.app)

    def submit(
        self, batch_id: str = FIRST, provider_id: str = THEIRS, *, lane: Lane = LANE
    ) -> None:
        capture(self.journal, lane=lane)
        limits = settings(self.app).accounts["default"].limits
        epoch = self.journal.adoption.epoch().id
        self.journal.lanes.seal(
            lane, batch_id, limits=limits, tokens=10**9, alone=True, epoch=epoch
        )
        with self.journal.batches.lease(batch_id) as lease:
            assert lease is not None
            self.journal.batches.advance(
                batch_id,
                lease,
                due=timedelta(hours=1),
                state="submitted",
                provider_id=provider_id,
                submitted_at=self.journal.clock.now(),
                chain="first",
            )

    def take(self, body: bytes, headers: dict[str, str] | None = None) -> Answer:
        headers = signed(body) if headers is None else headers
        return handle(body, headers, app=self.app)

    def word(self, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, str]:
        answer = self.take(body, headers)
        return answer.status, answer.word

    def record(self, batch_id: str = FIRST) -> BatchRecord:
        record = self.journal.batches.get(batch_id)
        assert record is not None
        return record

    def due(self, batch_id: str = FIRST) -> bool:
        return self.journal.batches.due_in(batch_id) <= timedelta(0)

    def messages(self) -> list[list[Any]]:
        """The polls that lie in the broker."""
        raw = self.server.client.lrange("batchq", 0, -1)
        bodies = [json.loads(str(one)) for one in list(raw)]
        return [
            json.loads(base64.b64decode(body["body"]))[0]
            for body in bodies
            if body["headers"]["task"] == "batchq.poll"
        ]

    def untouched(self) -> bool:
        """The batch waits as it did before, and nothing was sent."""
        record = self.record()
        quiet = not self.due() and record.told_at == 0 and record.chain == "first"
        return quiet and self.messages() == []


@pytest.fixture
def make(server: Server) -> Iterator[Callable[..., Desk]]:
    yield lambda **options: Desk(server, **options)
    quiet()


def quiet() -> None:
    """What is still to be sent would lie in the broker of the next test."""
    wait_until(
        lambda: not receive._messenger._waiting.unfinished_tasks,
        description="all messages are sent",
    )


@pytest.fixture
def desk(make: Callable[..., Desk]) -> Desk:
    desk = make()
    desk.submit()
    return desk


# What one does


@pytest.mark.parametrize("end", ["completed", "failed", "expired", "cancelled"])
def test_a_webhook_makes_the_poll_of_its_batch_due_now(desk: Desk, end: str) -> None:
    assert desk.untouched()
    assert desk.word(event(THEIRS, f"batch.{end}")) == (200, "woken")
    assert desk.due()
    assert desk.record().told_at > 0
    chain = desk.record().chain
    assert chain != "first", "the poll that was to come in an hour ends when it comes"
    wait_until(desk.messages, description="the poll's message is in the broker")
    assert desk.messages() == [[FIRST, chain]]


def test_a_webhook_that_comes_again_has_no_effect(desk: Desk) -> None:
    """With a fresh signature: the provider repeats one whose answer it has not seen. It is told
    that all is well, for with anything else it would go on for three days.
    """
    body = event(THEIRS)
    assert desk.word(body, signed(body, webhook_id="wh_1", age=200)) == (200, "woken")
    wait_until(desk.messages, description="the poll's message is in the broker")
    before = desk.record()
    for age in (200, 0, -200):
        headers = signed(body, webhook_id="wh_1", age=age)
        assert desk.word(body, headers) == (200, "repeated")
    assert desk.record() == before
    assert len(desk.messages()) == 1
    (remembered,) = desk.server.client.keys("*:webhook:*")
    assert desk.server.client.ttl(remembered) > 600, "longer than a signature is good for"


def test_rescue_wakes_a_poll_whose_message_is_lost(desk: Desk) -> None:
    assert desk.word(event(THEIRS)) == (200, "woken")
    wait_until(desk.messages, description="the poll's message is in the broker")
    desk.server.client.delete("batchq")

    def rescued() -> list[list[Any]]:
        rescue(desk.app)
        return desk.messages()

    wait_until(rescued, description="rescue has sent another message", every=0.3)
    assert desk.messages() == [[FIRST, desk.record().chain]]


def test_a_webhook_in_the_middle_of_a_poll_is_not_lost(desk: Desk) -> None:
    """The poll had asked a moment before the batch was over. What it writes down would be the
    next poll in an hour, and the chain of that one would end the one of the webhook.
    """
    told_at = desk.record().told_at
    with desk.journal.batches.lease(FIRST) as lease:
        assert lease is not None
        assert desk.word(event(THEIRS)) == (200, "woken")
        assert desk.record().chain == "first", "there is a step under way, and it looks again"
        word = desk.journal.batches.advance(
            FIRST, lease, due=timedelta(hours=1), told_at=told_at, chain="second"
        )
    assert word == "TOLD"
    assert desk.due()
    assert desk.messages() == []


def test_a_batch_that_is_known_to_be_over_stays_as_it_is(desk: Desk) -> None:
    with desk.journal.batches.lease(FIRST) as lease:
        assert lease is not None
        desk.journal.batches.advance(FIRST, lease, due=timedelta(hours=1), state="finished")
    assert desk.word(event(THEIRS)) == (200, "over")
    with desk.journal.batches.lease(FIRST) as lease:
        assert lease is not None
        desk.journal.batches.close(desk.record(), lease)
    assert desk.word(event(THEIRS)) == (200, "over")
    assert desk.messages() == []


def test_a_batch_that_was_set_aside_stays_aside(desk: Desk) -> None:
    """To be due is the sign that nobody has retried it in time: rescue would give its prompts an
    error, a day before that.
    """
    batch = desk.journal.store.batch_keys(FIRST)[0]
    desk.server.client.hset(batch, "dead_at", 1)
    assert desk.word(event(THEIRS)) == (200, "ignored")
    assert not desk.due()


def test_no_key_stays_for_ever(desk: Desk) -> None:
    desk.take(event(THEIRS))
    desk.journal.webhooks.note_end("default", told=True)
    assert keys_without_end(desk.server.client, documented=(*DOCUMENTED, "batches")) == []


def test_an_adopted_batch_is_known_by_its_provider_s_id(desk: Desk) -> None:
    adopted = desk.journal.adoption.adopt(
        "batch-2",
        LANE,
        provider_id="batch_found",
        state="submitted",
        **dict.fromkeys(("lines", "bytes", "tokens", "sealed_at"), 1),
    )
    assert adopted
    assert desk.word(event("batch_found")) == (200, "woken")


@pytest.mark.parametrize("count", [10_000])
def test_ten_thousand_open_batches_are_not_looked_through(desk: Desk, count: int) -> None:
    """Redis is asked for one batch as often as where there is no other."""
    client, journal = desk.server.client, desk.journal
    for number in range(2):
        # The first one connects to the broker; the second is like all that follow.
        desk.submit(f"alone-{number}", f"batch_alone_{number}")
        before = commands(desk.server)
        assert desk.word(event(f"batch_alone_{number}")) == (200, "woken")
    alone = commands(desk.server) - before
    template: Any = client.hgetall(journal.store.batch_keys(FIRST)[0])
    due = journal.clock.now() + 3_600_000
    pipe = client.pipeline(transaction=False)
    for number in range(count):
        pipe.hset(journal.store.batch_keys(f"open-{number}")[0], mapping=template)
        pipe.zadd(journal.store.key("batches"), {f"open-{number}": due})
        pipe.set(journal.store.key("theirs", f"batch_{number}"), f"open-{number}")
    pipe.execute()
    for number in (0, count // 2, count - 1):
        before = commands(desk.server)
        assert desk.word(event(f"batch_{number}")) == (200, "woken")
        assert commands(desk.server) - before == alone
        assert desk.due(f"open-{number}")
    assert not desk.due("open-7")


def commands(server: Server) -> Counter[str]:
    """How often the server was given each command of the journal, by clients and by scripts."""
    found: dict[str, Any] = server.client.info("commandstats")
    ours = {name: told["calls"] for name, told in found.items()}
    # Of connections and of the broker: a thread sends the poll, when it gets to it.
    brokers = ("lpush", "sadd", "smembers", "llen", "multi", "exec")
    for other in ("info", "hello", "client|setinfo", "ping", *brokers):
        ours.pop(f"cmdstat_{other}", None)
    return Counter(ours)


# What is refused


def refused(desk: Desk, body: bytes, headers: dict[str, str], status: int, word: str) -> None:
    assert desk.word(body, headers) == (status, word)
    assert desk.untouched()
    assert desk.server.client.keys("*:webhook:*") == [], "nor is it remembered"


def test_one_that_is_signed_by_another_key_is_refused(desk: Desk) -> None:
    body = event(THEIRS)
    refused(desk, body, signed(body, secret=OTHER_SECRET), 401, "refused")


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(THEIRS.encode(), b"batch_other0"),
        lambda body: body + b" ",
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: json.dumps(json.loads(body), separators=(",", ":")).encode(),
        lambda body: body[:0],
        lambda body: b"\xff" + body,
    ],
    ids=["changed", "longer", "with-a-mark", "serialised-again", "empty", "not-utf-8"],
)
def test_a_body_that_is_not_the_one_signed_is_refused(
    desk: Desk, change: Callable[[bytes], bytes]
) -> None:
    body = event(THEIRS)
    refused(desk, change(body), signed(body), 401, "refused")


@pytest.mark.parametrize("age", [301, 3600, -301, -3600])
def test_one_that_is_more_than_five_minutes_off_is_refused(desk: Desk, age: int) -> None:
    """A second more where it is to be from the future: the next may begin meanwhile."""
    body = event(THEIRS)
    refused(desk, body, signed(body, age=age - 1 if age < 0 else age), 401, "refused")


@pytest.mark.parametrize("age", [295, -295])
def test_one_that_is_less_than_five_minutes_off_is_taken(desk: Desk, age: int) -> None:
    body = event(THEIRS)
    assert desk.word(body, signed(body, age=age)) == (200, "woken")


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
@pytest.mark.parametrize("value", [None, "", "0", "é", "v1,", "v1,é", "9" * 5000, "msg.1.2"])
def test_one_whose_headers_are_not_those_signed_is_refused(
    desk: Desk, name: str, value: str | None
) -> None:
    """Among them one that is not ASCII: the SDK's comparison raises a TypeError there."""
    body = event(THEIRS)
    headers = signed(body)
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    refused(desk, body, headers, 401, "refused")


def test_one_of_several_signatures_is_enough(desk: Desk) -> None:
    """While the provider rotates a secret it signs with both."""
    body = event(THEIRS)
    headers = signed(body)
    headers["Webhook-Signature"] = f"v1,c29tZXRoaW5n v2,abc {headers['Webhook-Signature']}"
    assert desk.word(body, headers) == (200, "woken")


def test_the_names_of_headers_are_read_in_any_case(desk: Desk) -> None:
    body = event(THEIRS)
    assert desk.word(body, {k.upper(): v for k, v in signed(body).items()}) == (200, "woken")


def test_a_body_that_is_too_large_is_not_even_looked_at(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused before there is a secret to verify it with."""
    body = event(THEIRS, padding="x" * LARGEST)
    refused(desk, body, signed(body), 413, "oversize")
    monkeypatch.delenv("OPENAI_WEBHOOK_SECRET")
    refused(desk, body, signed(body), 413, "oversize")


def test_the_largest_body_is_taken(desk: Desk) -> None:
    body = event(THEIRS, padding="")
    body = event(THEIRS, padding="x" * (LARGEST - len(body)))
    assert len(body) == LARGEST
    assert desk.word(body) == (200, "woken")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"rubbish", b"[]", b"{}", b"null", b"1", b"[" * 100_000, b'{"type": "x"}'),
        *(b'{"type": 1, "data": {"id": "x"}}', b'{"type": "x", "data": {"id": 1}}'),
        b'{"type": "batch.completed", "data": []}',
        b"\xff\xfe",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_rubbish_is_refused_even_where_it_is_signed(desk: Desk, body: bytes) -> None:
    word = desk.word(body)
    # What is not UTF-8 is not verified at all.
    assert word == ((401, "refused") if body[:1] == b"\xff" else (400, "unreadable"))
    assert desk.untouched()


@pytest.mark.parametrize(
    "kind", ["response.completed", "batch.created", "batch.completed.v2", "BATCH.COMPLETED", ""]
)
def test_other_events_are_ignored(desk: Desk, kind: str) -> None:
    refused(desk, event(THEIRS, kind), signed(event(THEIRS, kind)), 200, "ignored")


@pytest.mark.parametrize(
    "batch_id", ["batch_other", "", "*", "x" * 10_000, "batch_\ud800", "batch 1", "batch-1"]
)
def test_a_batch_that_is_not_ours_is_ignored(desk: Desk, batch_id: str) -> None:
    """Others use the same account. `batch-1` is our own id of it, and not the provider's."""
    refused(desk, event(batch_id), signed(event(batch_id)), 200, "unknown")


# Whose secret


def test_without_a_secret_there_is_no_webhook(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_WEBHOOK_SECRET")
    refused(desk, event(THEIRS), signed(event(THEIRS)), 404, "off")


@pytest.mark.parametrize("held", ["whsec_", "whsec_????", "whsec_AAAA", "short", "whsec_A", " , "])
def test_a_secret_that_anybody_can_guess_is_none(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    """Of `whsec_` without the rest the SDK makes an empty key, with which anybody can sign."""
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", held)
    body = event(THEIRS)
    refused(desk, body, signed(body, secret=""), 404, "off")


def test_while_a_secret_is_rotated_both_count(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", f"{OTHER_SECRET}, {SECRET}")
    assert desk.word(event(THEIRS)) == (200, "woken")
    body = event(THEIRS)
    assert desk.word(body, signed(body, secret=OTHER_SECRET)) == (200, "woken")


@pytest.fixture
def two(make: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Desk:
    """Two accounts, each with a secret of its own; and a third that has none."""
    (tmp_path / "secret").write_text(f"{OTHER_SECRET}\n")
    accounts = {
        "default": {"webhook_secret": "env:OURS"},
        "other": {"webhook_secret": f"file:{tmp_path}/secret"},
        "third": {},
    }
    monkeypatch.delenv("OPENAI_WEBHOOK_SECRET")
    monkeypatch.setenv("OURS", SECRET)
    desk = make(batchq_accounts=accounts)
    desk.submit()
    other = Lane(account="other", endpoint=LANE.endpoint, model=LANE.model)
    desk.submit("batch-2", "batch_other", lane=other)
    return desk


def test_each_account_has_a_secret_of_its_own(two: Desk) -> None:
    body = event("batch_other")
    assert two.word(body, signed(body, secret=OTHER_SECRET)) == (200, "woken")
    assert two.word(event(THEIRS)) == (200, "woken")


def test_who_has_the_secret_of_one_account_says_nothing_of_another(two: Desk) -> None:
    body = event(THEIRS)
    assert two.word(body, signed(body, secret=OTHER_SECRET)) == (200, "unknown")
    assert not two.due()


def test_the_secret_itself_is_no_setting(make: Callable[..., Desk]) -> None:
    """Where somebody puts it there all the same, the refusal does not repeat it."""
    desk = make(batchq_accounts={"default": {"webhook_secret": SECRET}})
    with pytest.raises(ConfigurationError) as refusal:
        desk.take(event(THEIRS))
    assert "batchq_accounts['default'].webhook_secret: accepted is where" in str(refusal.value)
    assert SECRET not in f"{refusal.value} {refusal.value!r} {refusal.value.args}"


def test_the_secret_is_in_no_log_no_key_and_no_dump(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every logger at DEBUG, through all that can happen to a webhook."""
    caplog.set_level(logging.DEBUG)
    body = event(THEIRS)
    signature = signed(body)["Webhook-Signature"]
    desk.take(body, {})
    desk.take(body, signed(body, secret=OTHER_SECRET))
    desk.take(body, signed(body, age=400))
    desk.take(b"{}")
    desk.take(body, signed(body))
    config = settings(desk.app)
    shown = f"{config!r} {config.model_dump()} {config.accounts!r} {status(desk.app)!r}"
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET[:20])
    desk.take(body, signed(body))
    assert config.accounts["default"].webhook_secret == "env:OPENAI_WEBHOOK_SECRET"
    everything = shown + caplog.text + dumped(desk.server)
    assert "a webhook is answered with 'refused'" in caplog.text
    for part in (SECRET, SECRET[6:], SECRET[:20], "canary-secret", OTHER_SECRET, signature):
        assert part not in everything


def dumped(server: Server) -> str:
    client = server.client
    values = []
    for key in client.scan_iter():
        kind = client.type(key)
        read = {"hash": client.hgetall, "string": client.get}.get(str(kind))
        values.append(f"{key!r} {read(key) if read else ''!r}")
    return "\n".join(values)


# When others do not answer


@contextmanager
def away(server: Server, how: str) -> Iterator[None]:
    """A Redis that is gone, or that has stopped in the middle of everything."""
    if how == "gone":
        server.stop()
    else:
        server.pause()
    try:
        yield
    finally:
        if how == "gone":
            server.start()
        else:
            server.resume()


@pytest.mark.parametrize("how", ["gone", "slow"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "first"])
def test_while_redis_is_away_the_provider_is_to_send_it_again(
    desk: Desk, how: str, *, known: bool
) -> None:
    """And then it is taken: a webhook that had no effect is not remembered."""
    if known:
        desk.take(event("batch_other"))
    body = event(THEIRS)
    with away(desk.server, how):
        assert desk.word(body, signed(body, webhook_id="wh_1")) == (503, "away")
    assert desk.word(body, signed(body, webhook_id="wh_1")) == (200, "woken")


def test_a_broker_that_swallows_everything_holds_up_no_answer(make: Callable[..., Desk]) -> None:
    """The poll is due in the journal, and rescue wakes it."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        port = hole.getsockname()[1]
        desk = make(broker_url=f"redis://127.0.0.1:{port}/0")
        desk.submit()
        assert desk.word(event(THEIRS)) == (200, "woken")
        assert desk.due()


def test_a_redis_without_memory_takes_it(desk: Desk) -> None:
    """It is a batch's end that makes room there."""
    desk.server.client.config_set("maxmemory", 1)
    try:
        assert desk.word(event(THEIRS)) == (200, "woken")
    finally:
        desk.server.client.config_set("maxmemory", 0)
    assert desk.due()


def test_a_record_that_somebody_has_written_over_ends_nothing(desk: Desk) -> None:
    client, journal = desk.server.client, desk.journal
    client.set(journal.store.key("theirs", "batch_rubbish"), "batch-rubbish")
    client.set(journal.store.key("batch", "batch-rubbish"), "rubbish")
    assert desk.word(event("batch_rubbish")) == (200, "unknown")
    client.hset(journal.store.key("theirs", "batch_list"), "a", "b")
    assert desk.word(event("batch_list")) == (200, "unknown")
    assert desk.word(event(THEIRS)) == (200, "woken")


# Which app


def test_the_app_is_the_one_that_batchq_is_installed_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery's current app is another one in each thread that did not import the user's."""
    from weakref import WeakSet

    apps: WeakSet[Celery[Any]] = WeakSet()
    monkeypatch.setattr("batchq.installation._installed", apps)
    with pytest.raises(ConfigurationError, match="no app in this process"):
        handle(event(THEIRS), signed(event(THEIRS)))
    one = make_app("one")
    assert handle(event(THEIRS), signed(event(THEIRS))).word == "unknown"
    two = make_app("two")
    with pytest.raises(ConfigurationError, match="2 apps in this process"):
        handle(event(THEIRS), signed(event(THEIRS)))
    assert one is not two


def test_an_answer_is_a_status_and_a_plain_word(desk: Desk) -> None:
    answer = desk.take(event(THEIRS))
    assert answer == Answer(status=200, word="woken")
    with pytest.raises(AttributeError):
        answer.status = 500  # type: ignore[misc]


# How often is polled


LONG, AGE = timedelta(seconds=300), timedelta(seconds=40)


def pause(desk: Desk, news: News | None, age: timedelta = AGE) -> timedelta:
    return pause_between_polls(age, settings(desk.app), news)


@pytest.fixture
def usual(make: Callable[..., Desk]) -> Desk:
    return make(batchq_poll_first=5, batchq_poll_longest=300)


def test_without_webhooks_a_young_batch_is_polled_often(usual: Desk) -> None:
    assert pause(usual, None) == pause(usual, News()) == timedelta(seconds=10)


def test_while_webhooks_arrive_no_batch_is_polled_often(usual: Desk) -> None:
    """The longest pause is what a webhook costs that gets lost."""
    assert pause(usual, News(account=timedelta(0))) == LONG
    assert pause(usual, News(account=timedelta(hours=23))) == LONG
    assert pause(usual, News(account=timedelta(hours=23)), timedelta(days=1)) == LONG


def test_when_webhooks_stop_batches_are_polled_often_again(usual: Desk) -> None:
    assert pause(usual, News(account=timedelta(hours=24))) == timedelta(seconds=10)


def test_a_batch_that_is_over_by_its_webhook_alone_is_polled_as_if_it_were_new(
    usual: Desk,
) -> None:
    """The provider's own word may lag behind its webhook."""
    for account in (None, timedelta(0)):
        news = News(batch=timedelta(seconds=1), account=account)
        assert pause(usual, news, timedelta(hours=5)) == timedelta(seconds=5)
    news = News(batch=timedelta(days=1), account=timedelta(days=1))
    assert pause(usual, news) == timedelta(seconds=10), "it is not older than it is"


def test_webhooks_arrive_as_long_as_no_batch_ends_without_one(usual: Desk) -> None:
    journal = usual.journal
    assert journal.webhooks.since("default") is None
    journal.webhooks.note_end("default", told=True)
    since = journal.webhooks.since("default")
    assert since is not None
    assert since < timedelta(seconds=5)
    assert journal.webhooks.since("other") is None
    journal.webhooks.note_end("default", told=False)
    assert journal.webhooks.since("default") is None


def test_a_webhook_that_comes_after_the_end_was_found_shows_that_they_arrive(desk: Desk) -> None:
    """Of a batch that takes seconds the first poll may be faster than the webhook."""
    with desk.journal.batches.lease(FIRST) as lease:
        assert lease is not None
        desk.journal.batches.advance(FIRST, lease, due=timedelta(0), state="finished")
    desk.journal.webhooks.note_end("default", told=False)
    assert desk.word(event(THEIRS)) == (200, "over")
    assert desk.journal.webhooks.since("default") is not None


def test_the_account_takes_a_secret_from_where_it_takes_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOOK", f" {SECRET} ,{OTHER_SECRET},")
    assert Account(webhook_secret="env:HOOK").webhook_secrets() == [SECRET, OTHER_SECRET]
    assert Account(webhook_secret="call:tests.test_webhook:a_secret").webhook_secrets() == [SECRET]
    for nowhere in ("env:NOWHERE", "file:/nowhere", "call:tests.test_webhook:no_secret"):
        with pytest.raises(ConfigurationError, match="webhook_secret = "):
            Account(webhook_secret=nowhere).webhook_secrets()


def a_secret() -> str:
    return SECRET


def no_secret() -> str:
    raise RuntimeError(SECRET)


# A poll, as it is made


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Iterator[Steps]:
    """A batch at the provider that is stuck there, with its first poll in the broker."""
    emulator.fault("stuck_in_progress", at=0)
    options = {"batchq_poll_first": 0.05, "batchq_poll_longest": 60}
    steps = Steps(server, emulator, make_app("polls", **options))
    capture(steps.journal)
    steps.submitted()
    yield steps
    quiet()


def polled(steps: Steps) -> timedelta:
    """Make the poll that waits; returns when the next one is due."""
    record = steps.only()
    wait_until(
        lambda: steps.journal.batches.due_in(record.id) < timedelta(0),
        description="the poll is due",
    )
    poll(steps.app, record.id, record.chain)
    return steps.journal.batches.due_in(record.id)


def test_while_webhooks_arrive_a_poll_is_followed_by_the_longest_pause(steps: Steps) -> None:
    assert polled(steps) < timedelta(seconds=30)
    steps.journal.webhooks.note_end("default", told=True)
    assert polled(steps) > timedelta(seconds=50)


def test_a_poll_that_finds_a_batch_over_says_whether_a_webhook_has_told(steps: Steps) -> None:
    record = steps.only()
    assert handle(*webhook_of(record), app=steps.app).word == "woken"
    steps.emulator.lift("stuck_in_progress")
    steps.until(lambda: not steps.journal.batches.open(), "it is over")
    assert steps.journal.webhooks.since("default") is not None
    capture(steps.journal)
    steps.submitted()

    def over() -> bool:
        """Webhooks arrive, so its polls are a minute apart: each is made due."""
        for record in steps.journal.batches.open():
            steps.server.client.zadd(steps.journal.store.key("batches"), {record.id: 0})
        return not steps.journal.batches.open()

    steps.until(over, "the next one is over, and no webhook has told")
    assert steps.journal.webhooks.since("default") is None


def test_a_batch_is_asked_after_often_until_its_provider_agrees_with_its_webhook(
    steps: Steps,
) -> None:
    """Its own word lags behind, and webhooks arrive: the next poll would be the longest pause away,
    and no second webhook comes.
    """
    steps.journal.webhooks.note_end("default", told=True)
    assert handle(*webhook_of(steps.only()), app=steps.app).word == "woken"
    assert polled(steps) < timedelta(seconds=2)


def test_a_poll_that_is_told_while_it_asks_asks_again_at_once(steps: Steps) -> None:
    record = steps.only()
    steps.wakeups()
    steps.journal.webhooks.note_end("default", told=True)
    steps.emulator.fault("slow", call="retrieve", seconds=1)
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(polled, steps)
        wait_until(lambda: steps.emulator.fired("slow"), description="the provider is asked")
        assert handle(*webhook_of(record), app=steps.app).word == "woken"
        assert asking.result() <= timedelta(0)
    (message,) = steps.wakeups()
    assert (message.verb, message.args) == ("batchq.poll", (record.id, steps.only().chain))
    assert message.eta is None


def webhook_of(record: BatchRecord) -> tuple[bytes, dict[str, str]]:
    body = event(record.provider_id)
    return body, signed(body)
