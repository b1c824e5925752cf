"""What happens is told: signals for the user's own code, and a stream for who looks on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchq import control
from batchq.decide.budget import budget_reached, cost_under_way
from batchq.decide.flush import is_stuck, ought_to_go, why_stuck
from batchq.decide.poll import why_failed
from batchq.decide.room import tokens_allowed
from batchq.events import (
    KINDS,
    BatchAdopted,
    BatchChanged,
    BatchFailed,
    BatchFinished,
    BatchSealed,
    BatchSetAside,
    BatchSubmitted,
    BatchWoken,
    BudgetNear,
    Event,
    LaneStuck,
    LimitReached,
    OtherEvent,
    Reason,
    TaskDead,
    TasksRescued,
    from_json,
    span,
    to_json,
)
from batchq.flow import lookout
from batchq.flow.flush import flush
from batchq.flow.glance import Glance
from batchq.flow.rescue import rescue
from batchq.flow.runner import batch_lease
from batchq.journal import BatchRecord, Journal, LaneRecord, Sums, journal_of
from batchq.observe import emit
from batchq.prompt import Lane
from batchq.settings.config import settings
from batchq.signals import SIGNALS
from tests.apps.base import make_app
from tests.harness import ROOT, Emulator, Server, Stack, keys_without_end, wait_until
from tests.journals import DOCUMENTED, LANE, capture, capture_many
from tests.outcomes import _texts
from tests.test_dead import killed
from tests.test_flow import Steps

APP = "tests.apps.notices"


def at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


class Heard:
    """What the signals of one app have said."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.events: list[Event] = []

    def listen(self, sender: Any, event: Event, signal: Any, **_: Any) -> None:
        assert sender is self.app
        assert SIGNALS[type(event)] is signal
        self.events.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def make(server: Server, emulator: Emulator) -> Callable[..., Steps]:
    def made(limits: dict[str, Any] | None = None, **options: Any) -> Steps:
        quick = {"batchq_poll_first": 0.05, "batchq_poll_longest": 0.3, "batchq_tick": 0.2}
        accounts = {"default": {"limits": limits or {}, "prices": "openai"}}
        app = make_app("notices", **{**quick, "batchq_accounts": accounts, **options})
        return Steps(server, emulator, app)

    return made


@pytest.fixture
def steps(make: Callable[..., Steps]) -> Steps:
    return make()


@pytest.fixture
def listen() -> Iterator[Callable[[Steps], Heard]]:
    """Connects to every signal of an app, until the test is over."""
    connected: list[Heard] = []

    def listen(steps: Steps) -> Heard:
        heard = Heard(steps.app)
        connected.append(heard)
        for signal in SIGNALS.values():
            signal.connect(heard.listen, sender=steps.app, weak=False)
        return heard

    yield listen
    for heard in connected:
        for signal in SIGNALS.values():
            signal.disconnect(heard.listen, sender=heard.app)


@pytest.fixture
def heard(steps: Steps, listen: Callable[[Steps], Heard]) -> Heard:
    return listen(steps)


# The signals, each at its step


def test_a_batch_is_told_from_its_seal_to_its_end(steps: Steps, heard: Heard) -> None:
    capture_many(steps.journal, 3)
    steps.submitted()
    (submitted,) = heard.of(BatchSubmitted)
    (over,) = steps.until_over()
    record = steps.journal.batches.closed(1)[0]
    assert submitted == BatchSubmitted(
        at=at(record.submitted_at),
        batch=record.id,
        lane=LANE.name,
        prompts=3,
        provider_id=over["provider_id"],
        tokens=record.tokens,
    )
    (finished,) = heard.of(BatchFinished)
    assert finished == BatchFinished(
        at=at(record.closed_at),
        batch=record.id,
        lane=LANE.name,
        prompts=3,
        provider_id=record.provider_id,
        answered=3,
        took=timedelta(milliseconds=record.closed_at - record.sealed_at),
        cost=record.cost,
        live_cost=record.live_cost,
    )
    assert 0 < finished.cost < finished.live_cost
    assert heard.kinds == ["batch_submitted", "batch_finished"]
    told = steps.journal.events.read()
    assert [event for event in told if type(event) in SIGNALS] == heard.events
    assert isinstance(told[0], BatchSealed)
    changes = [event.status for event in told if isinstance(event, BatchChanged)]
    assert changes[-1] == "completed"
    assert len(changes) == len(set(changes)), "only what has changed is told"


@pytest.mark.parametrize(
    ("fault", "options", "reason", "codes"),
    [
        ("invalid_line", {"line": 1, "code": "invalid_json_line"}, "validation", 1),
        ("token_limit_exceeded", {}, "no_room", 1),
        ("stuck_in_progress", {}, "expired", 0),
        ("cancel_midway", {"at": 0.5}, "cancelled", 0),
        ("batch_404", {}, "lost", 0),
    ],
)
def test_a_batch_that_fails_is_told_with_why(
    steps: Steps, heard: Heard, fault: str, options: dict[str, Any], reason: Reason, codes: int
) -> None:
    """Of each batch that was submitted either its success or its failure is told, once."""
    capture_many(steps.journal, 4)
    steps.emulator.fault(fault, **options)
    steps.submitted()
    if reason == "expired":
        steps.emulator.advance(timedelta(hours=25))
    elif reason == "lost":
        steps.until(lambda: steps.only().missing_since, "it is missed")
        steps.advance(settings(steps.app).files_grace)

    def answered() -> bool:
        flush(steps.app)
        return steps.journal.tallies.counters().get("answered") == 4

    steps.until(answered, "all have an outcome")
    steps.until_over()
    failed = heard.of(BatchFailed)
    assert failed[0].reason == reason
    assert len(failed[0].codes) == codes
    assert failed[0].answered + failed[0].asked_again == 4
    submitted = [event.batch for event in heard.of(BatchSubmitted)]
    ended = [event.batch for event in (*failed, *heard.of(BatchFinished))]
    assert sorted(ended) == sorted(submitted)
    assert len(set(ended)) == len(ended)


@pytest.mark.parametrize(
    ("code", "told"), [("no_such_thing", "no_such_thing"), ("I read canary-5b1e", "other")]
)
def test_a_batch_that_the_provider_refuses_is_told(
    steps: Steps, heard: Heard, code: str, told: str
) -> None:
    capture(steps.journal)
    fault = {"status": 400, "code": code, "times": None, "message": "canary-5b1e"}
    steps.emulator.fault("call_error", call="create", **fault)
    flush(steps.app, everything=True)
    steps.until_over()
    (failed,) = heard.of(BatchFailed)
    assert (failed.reason, failed.provider_id, failed.prompts) == ("refused", "", 1)
    assert failed.codes == (told,)
    assert "canary" not in repr(heard.events)
    assert heard.of(BatchSubmitted) == []


def test_a_batch_that_is_set_aside_is_told_once_and_its_end_too(steps: Steps, heard: Heard) -> None:
    capture(steps.journal)
    batch = steps.submitted()
    killed(steps, batch.id)
    for _ in range(3):
        steps.set(batch.id, chain="c")
        with batch_lease(steps.app, batch.id) as lease:
            assert lease is None
    (dead,) = heard.of(BatchSetAside)
    assert (dead.batch, dead.lane, dead.prompts, dead.kills) == (batch.id, LANE.name, 1, 3)
    # As 26 hours later.
    steps.journal.store.redis.zadd(steps.journal.store.key("batches"), {batch.id: 1})
    rescue(steps.app)
    (failed,) = heard.of(BatchFailed)
    assert (failed.batch, failed.reason) == (batch.id, "given_up")


def test_no_room_is_told_once_an_hour(steps: Steps, heard: Heard) -> None:
    capture_many(steps.journal, 2)
    steps.emulator.fault("token_limit_exceeded", limit=50, times=3)

    def answered() -> bool:
        flush(steps.app, everything=True)
        return steps.journal.tallies.counters().get("answered") == 2

    steps.until(answered, "all are answered")
    refused = [event for event in heard.of(BatchFailed) if event.reason == "no_room"]
    assert len(refused) > 1
    (limit,) = heard.of(LimitReached)
    assert (limit.account, limit.model, limit.reason) == ("default", LANE.model, "no_room")
    assert limit.limit is not None
    assert limit.batch == refused[0].batch
    (key,) = steps.server.client.scan_iter("*told:limit:*")
    assert 3_500 < steps.server.client.ttl(key) <= 3_600
    steps.server.client.delete(key)
    again = steps.journal.batches.closed(1)[0]
    emit.tell_no_room(steps.app, again, 7)
    assert [event.limit for event in heard.of(LimitReached)][1:] == [7]


def test_a_throttled_create_is_told(steps: Steps, heard: Heard) -> None:
    capture(steps.journal)
    steps.emulator.fault("batches_per_hour", limit=0)
    flush(steps.app, everything=True)
    steps.until(lambda: heard.of(LimitReached), "it is told")
    (limit,) = heard.of(LimitReached)
    assert (limit.reason, limit.batch) == ("throttled", steps.only().id)


def test_a_batch_that_is_cancelled_before_it_was_sent_is_told(steps: Steps, heard: Heard) -> None:
    capture(steps.journal)
    flush(steps.app, everything=True)
    control.cancel(steps.app, steps.only().id)
    steps.until_over()
    (failed,) = heard.of(BatchFailed)
    assert (failed.reason, failed.provider_id) == ("cancelled", "")


# The smaller steps


def kinds_of(steps: Steps) -> list[str]:
    return [event.kind for event in steps.journal.events.read()]


def test_what_rescue_does_is_told(steps: Steps, heard: Heard) -> None:
    capture(steps.journal)
    batch = steps.submitted()
    steps.wakeups()
    steps.journal.store.redis.zadd(steps.journal.store.key("batches"), {batch.id: 1})
    # Answered, and nobody has sent it on.
    steps.journal.store.redis.zadd(steps.journal.store.key("resuming"), {"a-task": 0})
    rescue(steps.app)
    *_, woken, rescued = steps.journal.events.read()
    assert isinstance(woken, BatchWoken)
    assert (woken.batch, woken.state) == (batch.id, "submitted")
    assert isinstance(rescued, TasksRescued)
    assert rescued.tasks == 1
    assert heard.kinds == ["batch_submitted"], "they have no signal"


def test_a_batch_that_nobody_waits_for_is_told(steps: Steps, heard: Heard) -> None:
    asked = capture(steps.journal)
    flush(steps.app, everything=True)
    steps.journal.tasks.drop(asked.task_id)
    steps.journal.store.redis.delete(steps.journal.store.bodies_key(asked.task_id))
    steps.until_over()
    assert kinds_of(steps) == ["batch_sealed", "batch_emptied"]
    assert heard.events == []


def test_a_batch_that_was_lost_and_is_found_is_told(make: Callable[..., Steps]) -> None:
    steps = make(batchq_installation="shop")
    capture(steps.journal)
    batch = steps.submitted()
    steps.server.client.flushall()
    flush(steps.app)
    (adopted,) = steps.journal.events.read()
    assert isinstance(adopted, BatchAdopted)
    assert (adopted.batch, adopted.provider_id) == (batch.id, batch.provider_id)
    steps.until_over()
    assert kinds_of(steps)[-1] == "batch_finished"


# Lanes that are stuck


def look_until(steps: Steps, heard: Heard, kind: type[Event], *, count: int = 1) -> None:
    def told() -> bool:
        rescue(steps.app)
        return len(heard.of(kind)) >= count

    wait_until(told, description=f"{kind.__name__} is told")


def test_a_lane_that_nobody_flushes_is_told_once_an_hour(steps: Steps, heard: Heard) -> None:
    capture_many(steps.journal, 2)
    look_until(steps, heard, LaneStuck)
    rescue(steps.app)
    (stuck,) = heard.of(LaneStuck)
    assert (stuck.lane, stuck.prompts, stuck.why) == (LANE.name, 2, "unknown")
    assert stuck.oldest >= timedelta(seconds=1.5), "3 * batchq_poll_longest and 3 ticks"
    (key,) = steps.server.client.scan_iter("*told:stuck:*")
    assert 3_500 < steps.server.client.ttl(key) <= 3_600
    steps.server.client.delete(key)
    look_until(steps, heard, LaneStuck, count=2)


def test_a_lane_without_its_account_is_stuck(
    make: Callable[..., Steps], listen: Callable[[Steps], Heard]
) -> None:
    steps = make()
    heard = listen(steps)
    capture(steps.journal, lane=replace(LANE, account="gone"))
    look_until(steps, heard, LaneStuck)
    assert [event.why for event in heard.of(LaneStuck)] == ["no_account"]


def test_a_lane_whose_provider_has_no_room_is_stuck(
    make: Callable[..., Steps], listen: Callable[[Steps], Heard]
) -> None:
    steps = make({"enqueued_tokens": 100})
    heard = listen(steps)
    for _ in range(5):
        capture(steps.journal, tokens=30)
    steps.emulator.fault("stuck_in_progress")
    flush(steps.app, everything=True)
    assert steps.only().tokens == 90

    def told() -> bool:
        steps.step()
        flush(steps.app)
        rescue(steps.app)
        return bool(heard.of(LaneStuck))

    wait_until(told, description="it is told")
    assert [(event.why, event.prompts) for event in heard.of(LaneStuck)] == [("no_room", 2)]


def test_a_lane_that_waits_for_its_time_is_not_stuck(
    make: Callable[..., Steps], listen: Callable[[Steps], Heard]
) -> None:
    steps = make(batchq_flush_after=None, batchq_poll_longest=0.05, batchq_poll_first=0.05)
    heard = listen(steps)
    capture(steps.journal)
    moment = steps.journal.clock.now()
    wait_until(lambda: steps.journal.clock.now() - moment > 1_500, description="time passes")
    rescue(steps.app)
    assert heard.events == []


def test_what_moves_at_the_head_of_a_lane_is_not_stuck(steps: Steps) -> None:
    """A prompt that comes back after a day in a batch is old at once, and leaves at once."""
    journal = steps.journal
    capture_many(journal, 2)
    heads = journal.heads
    assert heads.seen([LANE]) == heads.note([LANE]) == {LANE: timedelta(0)}
    wait_until(lambda: heads.seen([LANE])[LANE] > timedelta(0), description="it is seen again")
    assert heads.note([LANE])[LANE] > timedelta(0)
    journal.store.redis.zpopmin(journal.store.lane_keys(LANE)[0])
    assert heads.note([LANE]) == {LANE: timedelta(0)}, "the second has just come there"
    steps.server.client.set(journal.store.key("head", LANE.name), "rubbish")
    lookout.look(steps.app, Glance(journal))  # It is logged.
    steps.server.client.delete(
        journal.store.key("head", LANE.name), journal.store.lane_keys(LANE)[0]
    )
    assert heads.seen([LANE]) == heads.seen([]) == {}


def test_what_is_stuck_is_decided_by_the_settings() -> None:
    config = settings(
        make_app("stuck", batchq_poll_longest=300, batchq_tick=5, batchq_flush_after=900)
    )
    assert not is_stuck(timedelta(minutes=15), config)
    assert is_stuck(timedelta(minutes=15, seconds=15), config)
    limits = (
        settings(
            make_app(
                "limits", batchq_accounts={"default": {"limits": {"enqueued_tokens": {"m": 5}}}}
            )
        )
        .accounts["default"]
        .limits
    )
    assert tokens_allowed(limits, "m", None) == 5
    assert tokens_allowed(limits, "m", 3) == 3
    assert tokens_allowed(limits, "other", 3) == 3
    assert tokens_allowed(limits, "other", None) > 10**9
    lane = LaneRecord(lane=LANE, prompts=2, bytes=1, tokens=6, oldest=timedelta(0))
    assert why_stuck(lane, config, learned=10, queued=8) == "no_room"
    assert why_stuck(lane, config, learned=10, queued=7) == "unknown"
    assert why_stuck(lane, config, learned=2, queued=0) == "unknown"
    assert why_stuck(lane, config, learned=None, queued=10**9) == "unknown"
    gone = replace(lane, lane=replace(LANE, account="gone"))
    old = replace(lane, oldest=timedelta(days=1))
    due = [old, replace(old, paused=timedelta(minutes=5)), gone, replace(old, held=True)]
    assert [ought_to_go(one, config) for one in (*due, lane)] == [True, True, True, False, False]
    assert not ought_to_go(replace(old, prompts=0), config)
    assert why_stuck(gone, config, learned=1, queued=1) == "no_account"


@pytest.mark.parametrize(
    ("status", "codes", "reason"),
    [
        ("completed", [], None),
        ("failed", ["token_limit_exceeded"], "no_room"),
        ("failed", ["invalid_json_line", "token_limit_exceeded"], "validation"),
        ("failed", [], "validation"),
        ("expired", [], "expired"),
        ("cancelled", [], "cancelled"),
        ("unknown", [], "lost"),
        ("cancelling", [], "deadline"),
        ("in_progress", [], "deadline"),
        ("a new word", [], "deadline"),
    ],
)
def test_why_a_batch_failed(status: str, codes: list[str], reason: str | None) -> None:
    assert why_failed(status, codes) == reason


# The budget


def test_a_budget_is_told_at_80_and_100_percent_once_a_day(
    make: Callable[..., Steps], listen: Callable[[Steps], Heard]
) -> None:
    steps = make(batchq_budget=2.5)
    heard, journal = listen(steps), steps.journal
    today = at(journal.clock.now()).date().isoformat()
    day = journal.store.key("day", today)
    for spent, told in ((0, []), (1_999_999_999, []), (2_000_000_000, [80]), (2_499_999_999, [80])):
        steps.server.client.hset(day, "cost", spent)
        rescue(steps.app)
        assert [event.percent for event in heard.of(BudgetNear)] == told
    steps.server.client.hset(day, "cost", 2_500_000_000)
    rescue(steps.app)
    rescue(steps.app)
    first, second = heard.of(BudgetNear)
    assert (first.percent, first.spent, first.budget) == (80, 2_000_000_000, 2_500_000_000)
    assert (second.percent, second.spent, second.day) == (100, 2_500_000_000, today)
    assert str(second) == (f"100 % of the budget of $2.50 for {today} is reached: $2.50 spent")
    # Nothing is stopped by it.
    capture(journal)
    flush(steps.app, everything=True)
    assert [batch["status"] for batch in steps.until_over()] == ["completed"]


def test_a_budget_that_is_passed_at_once_is_told_once(
    make: Callable[..., Steps], listen: Callable[[Steps], Heard]
) -> None:
    steps = make(batchq_budget=1)
    heard, journal = listen(steps), steps.journal
    day = journal.store.key("day", at(journal.clock.now()).date().isoformat())
    steps.server.client.hset(day, "cost", 10**10)
    rescue(steps.app)
    steps.server.client.hset(day, "cost", 9 * 10**8)
    rescue(steps.app)
    assert [event.percent for event in heard.of(BudgetNear)] == [100]


def test_what_is_under_way_counts_at_what_its_lane_has_cost(
    make: Callable[..., Steps], listen: Callable[[Steps], Heard]
) -> None:
    steps = make(batchq_budget=Decimal("0.001"))
    heard, journal = listen(steps), steps.journal
    capture_many(journal, 2)
    flush(steps.app, everything=True)
    steps.until_over()
    rescue(steps.app)
    assert heard.of(BudgetNear) == [], "two prompts cost less"
    spent = journal.tallies.day().cost
    steps.emulator.fault("stuck_in_progress")
    capture_many(journal, 1 + 2 * 10**6 // spent)
    steps.submitted()
    rescue(steps.app)
    (near,) = heard.of(BudgetNear)
    assert (near.percent, near.spent) == (100, spent)
    assert near.under_way == steps.only().lines * spent // 2
    assert "under way" in str(near)


def test_what_is_not_known_is_not_guessed() -> None:
    lane = Lane(account="a", endpoint="/v1/x", model="m")
    kept: dict[str, Any] = {"bytes": 1, "tokens": 1, "sealed_at": 1}
    out = BatchRecord(id="1", lane=lane, state="submitted", lines=10, submitted_at=1, **kept)
    here = BatchRecord(id="2", lane=lane, state="sealed", lines=10, **kept)
    other = replace(out, lane=replace(lane, model="new"))
    sums = {lane: Sums(attempts=4, cost=400)}
    assert cost_under_way([out, here, other], sums) == 1_000
    assert cost_under_way([out], {lane: Sums()}) == 0


def test_without_a_budget_nothing_is_told(steps: Steps, heard: Heard) -> None:
    day = steps.journal.store.key("day", at(steps.journal.clock.now()).date().isoformat())
    steps.server.client.hset(day, "cost", 10**15)
    rescue(steps.app)
    assert heard.events == []


def test_which_part_of_a_budget_is_reached() -> None:
    assert budget_reached(0, budget=10) is None
    assert [budget_reached(spent, budget=10) for spent in (7, 8, 9, 10, 99)] == (
        [None, 80, 80, 100, 100]
    )


# Nothing is stopped by it


def test_a_receiver_that_raises_stops_nothing_and_is_logged(
    steps: Steps, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("the pager is broken")

    for signal in SIGNALS.values():
        signal.connect(broken, weak=False)
    try:
        capture(steps.journal)
        flush(steps.app, everything=True)
        assert [batch["status"] for batch in steps.until_over()] == ["completed"]
    finally:
        for signal in SIGNALS.values():
            signal.disconnect(broken)
    assert heard.kinds == ["batch_submitted", "batch_finished"]
    assert "the pager is broken" in caplog.text


def test_a_redis_that_is_full_takes_events(steps: Steps, heard: Heard) -> None:
    """What goes wrong then is worth knowing then; and the stream has an end."""
    steps.server.client.config_set("maxmemory", 1)
    try:
        emit.tell_rescued(steps.app, 7)
        emit.tell_dead_task(steps.app, "an-id", "a.task")
    finally:
        steps.server.client.config_set("maxmemory", 0)
    assert [event.kind for event in steps.journal.events.read()] == ["tasks_rescued", "task_dead"]
    assert heard.kinds == ["task_dead"]


def test_a_stream_that_somebody_has_written_over_stops_nothing(
    steps: Steps, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    steps.server.client.set(steps.journal.store.key("events"), "mine")
    capture(steps.journal)
    flush(steps.app, everything=True)
    assert [batch["status"] for batch in steps.until_over()] == ["completed"]
    assert heard.kinds == ["batch_submitted", "batch_finished"]
    assert "an event could not be written" in caplog.text


def test_a_redis_that_is_away_stops_nothing(
    steps: Steps, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its client would try for 20 s; see _connect.
    monkeypatch.setattr("batchq.journal.connected._journals", {})
    monkeypatch.setattr("batchq.journal.connected.Retry", lambda _, retries: None)  # noqa: ARG005 its own
    event = TasksRescued(at=datetime.now(UTC), tasks=1)
    dead = TaskDead(at=event.at, task_id="t", name="n", kills=3)
    assert steps.journal.clock.now()
    steps.server.kill()
    emit.tell(steps.app, event)
    emit.tell(steps.app, dead)
    emit.tell_rescued(steps.app, 1)
    assert heard.events == [dead], "who listens in this process needs no Redis"


# The stream


_TEXT = st.text(max_size=20)
_COUNT = st.integers(0, 2**62)
_SPAN = st.integers(0, 10**10).map(lambda number: timedelta(milliseconds=number))
_WORDS: dict[str, st.SearchStrategy[Any]] = {
    "str": _TEXT,
    "int": _COUNT,
    "int | None": st.none() | _COUNT,
    "timedelta": _SPAN,
    "timedelta | None": st.none() | _SPAN,
    "datetime": st.integers(0, 4 * 10**12).map(at),
    "tuple[str, ...]": st.lists(_TEXT, max_size=3).map(tuple),
    "Reason": st.sampled_from(["expired", "no_room"]),
    "LimitReason": st.sampled_from(["no_room", "throttled"]),
    "StuckReason": st.sampled_from(["no_room", "no_account", "unknown"]),
    "TroubleReason": st.sampled_from(["credit", "access", "file", "unknown"]),
}


@st.composite
def some_event(draw: st.DrawFn) -> Event:
    record = draw(st.sampled_from(sorted(KINDS.values(), key=lambda kind: kind.__name__)))
    named = [each for each in fields(record) if each.name != "id"]
    return record(**{each.name: draw(_WORDS[str(each.type)]) for each in named})


@given(event=some_event())
def test_an_event_is_the_same_record_again(event: Event) -> None:
    again = from_json(to_json(event), id="1-0")
    assert again == event
    assert (again.id, type(again), again.kind) == ("1-0", type(event), event.kind)
    assert str(again) == str(event)


def test_every_kind_has_a_sentence_and_is_in_the_documents() -> None:
    text = (ROOT / "docs/notices.md").read_text()
    for kind, record in KINDS.items():
        assert f"| `{kind}` | `{record.__name__}` |" in text, kind
        assert record.__doc__
        assert "__str__" in vars(record)
    for record, signal in SIGNALS.items():
        kind = next(kind for kind, known in KINDS.items() if known is record)
        assert cast("Any", signal).name == kind
    for each in {name for record in SIGNALS for name in (one.name for one in fields(record))}:
        assert f"`{each}`" in text, each


def test_an_event_of_a_newer_release_is_shown_as_it_is() -> None:
    newer = '{"kind": "batch_praised", "at": 1000, "by": "everybody"}'
    assert from_json(newer, id="1-1") == OtherEvent(
        at=at(1000), name="batch_praised", fields={"by": "everybody"}
    )
    assert str(from_json(newer)) == 'batch_praised {"by": "everybody"}'
    assert from_json(newer).kind == "batch_praised"
    # A field more is left out; a word that is not known, or a field that is missing, is shown.
    more = '{"kind": "tasks_rescued", "at": 1000, "tasks": 3, "from": "here"}'
    assert from_json(more) == TasksRescued(at=at(1000), tasks=3)
    fewer = '{"kind": "tasks_rescued", "at": 1000}'
    assert isinstance(from_json(fewer), OtherEvent)
    stuck = LaneStuck(
        at=at(1000), lane="l", prompts=1, tokens=1, oldest=timedelta(1), why="unknown"
    )
    odd = to_json(stuck).replace('"unknown"', '"a new word"')
    assert from_json(odd).kind == "lane_stuck"
    assert isinstance(from_json(odd), OtherEvent)


@pytest.mark.parametrize(
    "rubbish",
    ["", "nothing", "[]", "{}", "3", '{"kind": "x"}', '{"kind": 1, "at": "then"}', "[" * 100_000],
)
def test_what_is_no_event_is_refused_in_words(rubbish: str) -> None:
    with pytest.raises(ValueError, match=r"no event|Expecting"):
        from_json(rubbish)


def test_rubbish_in_the_stream_keeps_its_place(steps: Steps) -> None:
    """Who follows goes past it, and does not read it for ever."""
    emit.tell_rescued(steps.app, 1)
    key = steps.journal.store.key("events")
    steps.server.client.xadd(key, {"event": "rubbish"})
    steps.server.client.xadd(key, {"something": "else"})
    emit.tell_rescued(steps.app, 2)
    told = steps.journal.events.read()
    assert [event.kind for event in told] == (
        ["tasks_rescued", "unreadable", "unreadable", "tasks_rescued"]
    )
    assert steps.journal.events.read(after=told[2].id) == told[3:]


def test_who_follows_hears_of_each_event_once_and_in_order(steps: Steps) -> None:
    emit.tell_rescued(steps.app, 0)
    heard: list[Event] = []
    follower = steps.journal.events.follow()
    begun = threading.Event()

    def follow() -> None:
        begun.set()
        heard.extend(next(follower) for _ in range(5))

    thread = threading.Thread(target=follow)
    thread.start()
    begun.wait()

    def told() -> bool:
        # The follower may begin at any of these, but misses none after that.
        emit.tell_rescued(steps.app, len(steps.journal.events.read()))
        return len(heard) == 5

    wait_until(told, description="it has heard of five")
    thread.join()
    counts = [cast("TasksRescued", event).tasks for event in heard]
    assert counts == list(range(counts[0], counts[0] + 5))
    assert counts[0] > 0, "from now on"
    again = steps.journal.events.follow(after=heard[1].id)
    assert [next(again) for _ in range(3)] == heard[2:]
    assert steps.journal.events.last(2) == steps.journal.events.read()[-2:]
    last = steps.journal.events.last_id()
    assert steps.journal.events.next(after=last, wait=timedelta(milliseconds=1)) == []


def test_the_stream_is_read_in_the_newer_protocol_too(server: Server) -> None:
    """RESP 3 has other shapes for the same reply."""
    app = make_app("resp3", batchq_redis_url=f"{server.url}?protocol=3")
    emit.tell_rescued(app, 1)
    journal = journal_of(app)
    assert journal.events.next(after="0-0") == journal.events.read() == journal.events.last(9)
    assert len(journal.events.read()) == 1


def test_the_stream_forgets_the_oldest_and_has_an_end(steps: Steps) -> None:
    journal = steps.journal
    event = to_json(TasksRescued(at=datetime.now(UTC), tasks=1))
    pipe = journal.store.redis.pipeline(transaction=False)
    for _ in range(10_500):
        pipe.xadd(journal.store.key("events"), {"event": event})
    pipe.execute()
    emit.tell_rescued(steps.app, 2)
    assert 10_000 <= journal.store.redis.xlen(journal.store.key("events")) <= 10_200
    assert 0 < journal.store.redis.pttl(journal.store.key("events")) <= 7 * 86_400_000


def test_all_that_is_told_has_an_end_and_holds_no_prompt(steps: Steps, heard: Heard) -> None:
    capture(steps.journal, json.dumps({"model": LANE.model, "messages": "canary-5b1e"}).encode())
    look_until(steps, heard, LaneStuck)
    flush(steps.app, everything=True)
    steps.until_over()
    raw = steps.journal.store.redis
    told = tuple(b"{batchq}:%b" % kind for kind in (b"events", b"told", b"head", b"notified"))
    held = [text for key, text in _texts(raw) if key.startswith(told)]
    assert held
    assert not [text for text in held if b"canary" in text]
    assert keys_without_end(steps.server.client, documented=DOCUMENTED) == []


def test_words_for_a_length_of_time() -> None:
    spans = [0, 1, 59.6, 61, 3_600, 3_605, 7_800, 90_000, 86_400]
    assert [span(timedelta(seconds=seconds)) for seconds in spans] == (
        ["0 s", "1 s", "1 min", "1 min 1 s", "1 h", "1 h", "2 h 10 min", "1 d 1 h", "1 d"]
    )


# In a worker


def test_receivers_run_in_the_worker_that_took_the_step(stack: Stack) -> None:
    """Each signal once, whichever of its processes took the step, and nothing of the prompt."""
    stack.redis.set("armed", 1)
    stack.worker(APP)
    stack.beat(APP)
    app = stack.app(APP)
    killer = app.tasks[f"{APP}.dies"].delay("canary-5b1e")
    wait_until(lambda: "task_dead" in kinds(stack), description="its end is told", timeout=60)
    stack.redis.delete("armed")
    assert app.tasks[f"{APP}.ask"].delay("canary-5b1e").get(timeout=30)
    wait_until(lambda: "batch_finished" in kinds(stack), description="the batch is told")
    told = [json.loads(line) for line in stack.redis.lrange("heard", 0, -1)]
    assert [one["kind"] for one in told] == ["task_dead", "batch_submitted", "batch_finished"]
    assert (told[0]["task_id"], told[0]["name"]) == (killer.id, f"{APP}.dies")
    assert "canary" not in json.dumps(told)
    journal: Journal = journal_of(app)
    stream = [event for event in journal.events.read() if type(event) in SIGNALS]
    assert [json.loads(to_json(event)) for event in stream] == told
    killer.forget()


def kinds(stack: Stack) -> list[str]:
    return [json.loads(line)["kind"] for line in stack.redis.lrange("heard", 0, -1)]
