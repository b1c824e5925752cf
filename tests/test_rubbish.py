"""Rubbish in every kind of key: it is refused in words, and whatever is beside it goes on."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from batchq.prompt import pack
from tests.apps import outcomes
from tests.harness import wait_until
from tests.journals import LANE, MODEL, message
from tests.outcomes import World

NO_TEXT = b"\xff\xfe"


@dataclass
class Dump:
    """Puts rubbish beside a world's own keys, and takes it away again."""

    world: World
    taken: list[Callable[[], Any]] = field(default_factory=list[Callable[[], Any]])

    @property
    def redis(self) -> Any:
        return self.world.journal.store.redis

    def key(self, *parts: str) -> str:
        return self.world.journal.store.key(*parts)

    def text(self, key: str, value: bytes | str = b"rubbish") -> None:
        self.redis.set(key, value)
        self.taken.append(lambda: self.redis.delete(key))

    def hash(self, key: str, **fields: Any) -> None:
        self.redis.hset(key, mapping=fields)
        self.taken.append(lambda: self.redis.delete(key))

    def member(self, key: str, member: bytes | str, score: float = 0) -> None:
        self.redis.zadd(key, {member: score})
        self.taken.append(lambda: self.redis.zrem(key, member))

    def clear(self) -> None:
        for take in self.taken:
            take()


def unknown_lane(dump: Dump) -> None:
    dump.redis.sadd(dump.key("lanes"), "no lane", NO_TEXT, "a|b|c|d|e|f")


def lane_that_is_none(dump: Dump) -> None:
    dump.redis.sadd(dump.key("lanes"), "a|/v1/b|c|")
    dump.text(dump.key("lane", "a|/v1/b|c|"))
    dump.taken.append(lambda: dump.redis.srem(dump.key("lanes"), "a|/v1/b|c|"))


def prompts_that_are_none(dump: Dump) -> None:
    """They stand before all others in the lane, so that a batch meets them in its middle."""
    lane = dump.key("lane", LANE.name)
    dump.text(dump.key("task", "text"))
    dump.hash(dump.key("task", "words"), **{"0:bytes": "many", "0:place": "lane", "nesting": 0})
    for member in (NO_TEXT, "no number", "text-0", "words-0", "nobody-0", "x-²"):
        dump.member(lane, member, 1)
    dump.taken.append(lambda: dump.redis.zrem(dump.key("resuming"), "words"))


def totals_that_are_none(dump: Dump) -> None:
    dump.text(dump.key("totals", LANE.name))


def totals_that_are_words(dump: Dump) -> None:
    dump.hash(dump.key("totals", LANE.name), bytes="many", tokens=NO_TEXT)


def figures_that_are_words(dump: Dump) -> None:
    dump.text(dump.key("everything"), "yesterday")
    dump.text(dump.key("limit", LANE.account, MODEL), "much")


def figures_that_are_lists(dump: Dump) -> None:
    for key in (dump.key("everything"), dump.key("limit", LANE.account, MODEL)):
        dump.redis.rpush(key, "x")


def batch_without_figures(dump: Dump) -> None:
    dump.member(dump.key("batches"), "words", 1)
    dump.hash(dump.key("batch", "words"), lane=LANE.name, state="sealed", lines="many")


def batch_of_an_unknown_lane(dump: Dump) -> None:
    dump.member(dump.key("batches"), "lost", 1)
    dump.hash(dump.key("batch", "lost"), lane="nowhere", state="sealed", lines=1)


def batch_with_half_its_fields(dump: Dump) -> None:
    dump.member(dump.key("batches"), "half", 1)
    dump.hash(dump.key("batch", "half"), lane=LANE.name)


def batch_that_is_none(dump: Dump) -> None:
    dump.member(dump.key("batches"), "text", 1)
    dump.text(dump.key("batch", "text"))
    dump.member(dump.key("batches"), NO_TEXT, 1)


def batch_in_bytes(dump: Dump) -> None:
    dump.member(dump.key("batches"), "bytes", 1)
    dump.hash(dump.key("batch", "bytes"), lane=NO_TEXT, state=NO_TEXT)


def batch_in_an_unknown_state(dump: Dump) -> None:
    dump.member(dump.key("batches"), "odd", 1)
    figures = {"lines": 1, "bytes": 1, "tokens": 1, "sealed_at": 1}
    dump.hash(dump.key("batch", "odd"), lane=LANE.name, state="odd", **figures)


def task_that_is_none(dump: Dump) -> None:
    dump.member(dump.key("resuming"), "text")
    dump.text(dump.key("task", "text"))
    dump.member(dump.key("resuming"), NO_TEXT)


def resuming(dump: Dump, **fields: Any) -> None:
    dump.member(dump.key("resuming"), "victim")
    dump.hash(dump.key("task", "victim"), nesting=0, retries=0, **fields)


def message_cut_short(dump: Dump) -> None:
    resuming(dump, message=pack(b"x" * 9_000)[:20])


def message_without_a_mark(dump: Dump) -> None:
    resuming(dump, message=b"?")


def message_that_is_no_json(dump: Dump) -> None:
    resuming(dump, message=pack(b"{"))


def message_of_another_shape(dump: Dump) -> None:
    resuming(dump, message=pack(b'{"body": 1, "headers": []}'), sends="often")


def message_for_a_queue_that_is_none(dump: Dump) -> None:
    """Those that are sent in the same breath go out all the same."""
    dump.text("spoiled")
    resuming(dump, message=pack(message("victim", queue="spoiled")))


def record_that_is_none(dump: Dump) -> None:
    """Celery knows this task to be final, and what is to be dropped of it is rubbish."""
    dump.text("celery-task-meta-victim", json.dumps({"status": "SUCCESS", "result": 1}))
    resuming(dump, **{"0:place": "lane", "0:record": "[]"})


def result_that_is_none(dump: Dump) -> None:
    dump.text("celery-task-meta-victim", "{")
    resuming(dump)


def waiting_that_is_none(dump: Dump) -> None:
    dump.member(dump.key("waiting"), NO_TEXT, 1)
    dump.member(dump.key("waiting"), "gone", 1)


RUBBISH = [
    *(unknown_lane, lane_that_is_none, prompts_that_are_none),
    *(totals_that_are_none, totals_that_are_words),
    *(figures_that_are_words, figures_that_are_lists),
    *(batch_without_figures, batch_of_an_unknown_lane, batch_with_half_its_fields),
    *(batch_that_is_none, batch_in_bytes, batch_in_an_unknown_state),
    *(task_that_is_none, message_cut_short, message_without_a_mark, message_that_is_no_json),
    *(message_of_another_shape, message_for_a_queue_that_is_none, record_that_is_none),
    *(result_that_is_none, waiting_that_is_none),
]


@pytest.mark.parametrize("put", RUBBISH, ids=lambda put: put.__name__)
def test_the_others_go_on(world: World, put: Callable[[Dump], None]) -> None:
    """One broken record ended the sweep, and with it the way of every prompt of every task."""
    dump = Dump(world)
    put(dump)
    try:
        world.ask(2)
        assert world.errors() == []
    finally:
        dump.clear()
    world.check(batches=1)


# What belongs to a task that waits is damaged


def spoil(world: World, what: str, value: bytes) -> str:
    """Ask with two tasks, and damage what the journal holds of the first."""
    world.sent = [outcomes.say.delay("the damaged one"), outcomes.say.delay("its neighbour")]
    wait_until(
        lambda: world.journal.tallies.counters().get("captured") == 2, description="both have asked"
    )
    task_id = world.sent[0].id
    kind, field_name = what.split()
    key = {"task": world.journal.store.task_key, "bodies": world.journal.store.bodies_key}[kind](
        task_id
    )
    assert world.journal.store.redis.hset(key, field_name, value) in {0, 1}
    outcomes.app.tasks["batchq.flush"].delay(everything=True)
    return task_id


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"z" + zlib.compress(b"x" * 9_000)[:9], id="cut short"),
        pytest.param(b"=not json", id="no json"),
        pytest.param(b"={}", id="other json"),
        pytest.param(b"", id="empty"),
        pytest.param(b"=" + pickle.dumps(1), id="a pickle"),
    ],
)
def test_a_damaged_prompt_gets_an_error_and_its_neighbour_its_answer(
    world: World, body: bytes
) -> None:
    spoil(world, "bodies 0", body)
    assert world.errors() == [("BadRequestError", 400, "invalid_json_line")]
    assert world.results()[1]["answer"]
    world.check(batches=1)


@pytest.mark.parametrize("name", ["0:record", "calls", "0:outcome", "once:step#1"])
def test_a_damaged_record_fails_its_task_in_words(world: World, name: str) -> None:
    """The claim raised whatever zlib or json raised, and left its lease behind."""
    world.emulator.fault("slow", call="create", seconds=0.5)
    # An outcome that is there already stays: the first one wins.
    spoil(world, f"task {name}", NO_TEXT)
    if name == "0:outcome":
        world.journal.store.redis.hset(
            world.journal.store.task_key(world.sent[0].id),
            mapping={"0:place": "answered", "waiting": 0},
        )
        world.journal.store.redis.zadd(world.journal.store.key("resuming"), {world.sent[0].id: 0})
        world.journal.store.redis.zrem(world.journal.store.key("waiting"), world.sent[0].id)
    assert world.sent[1].get(timeout=20)["answer"]
    with pytest.raises(Exception, match=f"task {world.sent[0].id} is damaged") as caught:
        world.sent[0].get(timeout=20)
    assert type(caught.value).__name__ == "JournalUnreadable"
    world.quiet()


# Pickles


class Canary:
    """Whoever unpickles it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "place",
    ["body", "outcome", "message", "message body", "step", "batch", "result", "limit", "record"],
)
def test_a_pickle_is_never_executed(world: World, tmp_path: Path, place: str) -> None:
    """It lies where JSON should; whoever finds it refuses it, and nothing else is lost."""
    canary = tmp_path / "canary"
    poison = pickle.dumps(Canary(canary))
    dump = Dump(world)
    if place == "body":
        spoil(world, "bodies 0", b"=" + poison)
        assert world.results()[1]["answer"]
    else:
        put_pickle(dump, place, poison)
        world.ask(2)
        assert world.errors() == []
    dump.clear()
    assert not canary.exists()
    pickle.loads(poison)  # noqa: S301 our own
    assert canary.exists(), "this pickle would have shown itself"


def put_pickle(dump: Dump, place: str, poison: bytes) -> None:
    if place == "outcome":
        fields: dict[str, Any] = {"0:record": json.dumps({"lane": LANE.name}), "0:outcome": poison}
        resuming(dump, message=pack(message("victim")), **fields)
    elif place == "message":
        resuming(dump, message=b"=" + poison)
    elif place == "message body":
        kept = json.loads(message("victim"))
        kept |= {"body": base64.b64encode(poison).decode(), "binary": True}
        kept |= {
            "content_type": "application/x-python-serialize",
            "content_encoding": "binary",
            "routing_key": "celery",
        }
        kept["headers"]["task"] = outcomes.say.name
        resuming(dump, message=pack(json.dumps(kept).encode()))
    elif place == "step":
        resuming(dump, message=pack(message("victim")), **{"once:step#1": poison})
    elif place == "batch":
        dump.member(dump.key("batches"), "pickled", 1)
        dump.hash(dump.key("batch", "pickled"), lane=LANE.name, state=poison, lines=poison)
    elif place == "result":
        dump.text("celery-task-meta-victim", poison)
        resuming(dump)
    elif place == "limit":
        dump.text(dump.key("limit", LANE.account, MODEL), poison)
    elif place == "record":
        dump.text("celery-task-meta-victim", json.dumps({"status": "SUCCESS", "result": 1}))
        resuming(dump, **{"0:place": "lane", "0:record": poison})


@pytest.mark.parametrize("key", ["counters", "waiting"])
def test_counters_that_are_none_stop_nobody(world: World, key: str) -> None:
    """Where the index of waiting tasks is none, a capture fails before it writes anything.

    The last test of this file: that failure has a traceback in the worker's log.
    """
    redis = world.journal.store.redis
    redis.set(world.journal.store.key(key), "rubbish")
    sent = outcomes.say.delay("beside it")
    if key == "waiting":
        with pytest.raises(Exception, match="WRONGTYPE"):
            sent.get(timeout=10)
        assert world.journal.lanes.all() == []
        redis.delete(world.journal.store.key(key))
        return
    lane = world.journal.store.key("lane", LANE.name)
    wait_until(lambda: redis.zcard(lane), description="it has asked")
    outcomes.app.tasks["batchq.flush"].delay(everything=True)
    assert sent.get(timeout=20)["answer"]
    redis.delete(world.journal.store.key(key))
