"""What of Celery's keys is prolonged for a task that waits, and how rescue comes to meet it."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis as redis_py
from celery import Celery, chain, chord
from celery.backends.base import DisabledBackend

from batchq.celery_side.chords import groups_of, keep_alive
from batchq.common.seams.results import result_keys
from batchq.journal import Walk, journal_of
from tests.apps.keepalive import app, start
from tests.harness import Stack
from tests.journals import LANE, capture, outcome

# Celery's own call, for a chord.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

APP = "tests.apps.keepalive"


# What is prolonged, and what is not


def make(redis_url: str, **settings: Any) -> Any:
    app: Celery[Any] = Celery("keys", broker=redis_url, set_as_current=False)
    app.conf.update(
        {"result_backend": redis_url, "batchq_redis_url": redis_url, "result_expires": 100}
        | settings
    )
    return app


def waits_in(app: Any, *groups: str) -> str:
    """A task that waits, in these groups."""
    journal = journal_of(app)
    task_id = capture(journal).task_id
    fields = {"groups": json.dumps(groups)}
    journal.store.redis.hset(journal.store.task_key(task_id), mapping=fields)
    return task_id


@pytest.fixture
def redis(redis_url: str) -> Any:
    return journal_of(make(redis_url)).store.redis


PARTS = ("", ".j", ".t", ".s", ".d")


def test_the_keys_of_a_chord_and_the_state_of_its_member_are_prolonged(
    redis_url: str, redis: Any
) -> None:
    app = make(redis_url)
    task_id = waits_in(app, "g")
    keys = [app.backend.get_key_for_group("g", part) for part in PARTS]
    keys.append(app.backend.get_key_for_task(task_id))
    saved = {"result": [["g", None], [[["done", None], None], [[["in", None], None], []]]]}
    for key in keys:
        redis.set(key, json.dumps({"status": "BATCHED"}), ex=7)
    redis.set(keys[0], json.dumps(saved), ex=7)
    keys.append(app.backend.get_key_for_task("done"))
    redis.set(keys[-1], "{}", ex=7)
    keep_alive(app)
    assert [redis.ttl(key) for key in keys] == [100] * len(keys)


def test_what_has_no_end_gets_none(redis_url: str, redis: Any) -> None:
    """Whoever set the chord up may keep its results for ever."""
    app = make(redis_url)
    waits_in(app, "g")
    redis.set(app.backend.get_key_for_group("g", ".s"), 2)
    keep_alive(app)
    assert redis.ttl(app.backend.get_key_for_group("g", ".s")) == -1


def test_what_ends_later_than_we_would_let_it_is_left(redis_url: str, redis: Any) -> None:
    app = make(redis_url)
    waits_in(app, "g")
    redis.set(app.backend.get_key_for_group("g", ".s"), 2, ex=5000)
    keep_alive(app)
    assert redis.ttl(app.backend.get_key_for_group("g", ".s")) > 4990


def test_nothing_is_touched_where_results_do_not_expire(redis_url: str, redis: Any) -> None:
    app = make(redis_url, result_expires=None)
    task_id = waits_in(app, "g")
    for key in (app.backend.get_key_for_group("g", ".s"), app.backend.get_key_for_task(task_id)):
        redis.set(key, json.dumps({"status": "BATCHED"}), ex=7)
    keep_alive(app)
    assert redis.ttl(app.backend.get_key_for_group("g", ".s")) <= 7
    assert redis.ttl(app.backend.get_key_for_task(task_id)) <= 7


def test_chords_have_a_life_of_their_own_from_celery_5_7_on(redis_url: str, redis: Any) -> None:
    app = make(redis_url, result_chord_expires=500)
    if not hasattr(app.backend, "chord_expires"):
        pytest.skip("CI has this elsewhere: it needs Celery 5.7 (make fidelity)")
    waits_in(app, "g")
    redis.set(app.backend.get_key_for_group("g", ".s"), 2, ex=7)
    keep_alive(app)
    assert redis.ttl(app.backend.get_key_for_group("g", ".s")) == 500


def test_a_task_that_is_on_its_way_back_is_kept_too(redis_url: str, redis: Any) -> None:
    """Its message may stand in a long queue."""
    app = make(redis_url)
    asked = capture(journal_of(app))
    assert journal_of(app).answers.add(LANE, [(asked.custom_ids[0], outcome())]) == ["READY"]
    key = app.backend.get_key_for_task(asked.task_id)
    redis.set(key, json.dumps({"status": "BATCHED"}), ex=7)
    keep_alive(app)
    assert redis.ttl(key) == 100


# The walk


def test_one_tick_meets_a_few_and_a_walk_meets_all(redis_url: str, redis: Any) -> None:
    app = make(redis_url)
    task_ids = [waits_in(app) for _ in range(1_200)]
    keys = list(map(app.backend.get_key_for_task, task_ids))

    def all_at_once(command: str, *words: Any) -> list[Any]:
        # One by one, on a busy machine, some ended before their turn to be kept came.
        with redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.execute_command(command, key, *words)
            return list(pipe.execute())

    all_at_once("SET", json.dumps({"status": "BATCHED"}), "EX", 50)

    def kept() -> int:
        return sum(ttl > 50 for ttl in all_at_once("TTL"))

    counts = [0]
    while counts[-1] < len(keys):
        keep_alive(app)
        counts.append(kept())
        assert 0 < counts[-1] - counts[-2] < 700, "a slice at each tick"
    assert journal_of(app).waiting.walk().through in {"resuming", ""}


def test_a_walk_that_is_over_rests(redis_url: str, redis: Any) -> None:
    app = make(redis_url)
    task_id = waits_in(app)
    keep_alive(app)
    key = app.backend.get_key_for_task(task_id)
    redis.set(key, json.dumps({"status": "BATCHED"}), ex=7)
    keep_alive(app)
    assert redis.ttl(key) <= 7
    journal = journal_of(app)
    journal.waiting.note_walk(Walk(began_at=journal.clock.now() - 26_000))
    keep_alive(app)
    assert redis.ttl(key) == 100


def test_of_a_chord_one_member_is_enough(redis_url: str) -> None:
    journal = journal_of(make(redis_url))
    minute = timedelta(minutes=1)
    assert journal.chords.kept_now(["a", "b"], for_=minute) == ["a", "b"]
    assert journal.chords.kept_now(["b", "c"], for_=minute) == ["c"]


@pytest.mark.parametrize("state", ["FAILURE", "REVOKED"])
def test_a_waiting_task_that_celery_has_ended_is_let_go(
    redis_url: str, redis: Any, state: str
) -> None:
    """Its prompts left the lane only when its journal expired."""
    app = make(redis_url)
    task_id = waits_in(app)
    redis.set(app.backend.get_key_for_task(task_id), json.dumps({"status": state}))
    keep_alive(app)
    journal = journal_of(app)
    assert (journal.waiting.count(), sum(lane.prompts for lane in journal.lanes.all())) == (0, 0)


def test_an_app_without_results_has_nothing_to_keep(redis_url: str) -> None:
    app = make(redis_url, result_backend=None)
    assert isinstance(app.backend, DisabledBackend)
    assert result_keys(app) is None
    keep_alive(app)


def test_the_groups_of_a_task_are_found_in_what_follows_it(redis_url: str) -> None:
    app = make(redis_url)

    def nothing(*_: Any) -> None: ...

    one = app.task(nothing, name="one", shared=False)

    inner = chord([one.s(), one.s()], one.s({"options": {"group_id": "an argument"}}))
    result: Any = chord([inner, chain(one.s(), one.s())], one.s()).apply_async()
    with redis_py.Redis.from_url(redis_url) as client:
        messages = [json.loads(raw) for raw in client.lrange("celery", 0, -1)]
    found = [
        groups_of(
            SimpleNamespace(
                group=message["headers"]["group"],
                **json.loads(base64.b64decode(message["body"]))[2],
            )
        )
        for message in messages
    ]
    assert all(result.parent.id in groups for groups in found)
    assert sorted(map(len, found)) == [1, 2, 2], "the chord inside has a group of its own"
    assert not any("an argument" in groups for groups in found)


# Backends that poll


def test_a_backend_without_native_chords_needs_no_help(stack: Stack, tmp_path: Path) -> None:
    """`celery.chord_unlock` asks again and again whether all members are done."""
    (tmp_path / "results").mkdir()
    url = f"file://{tmp_path / 'results'}"
    settings = {"result_backend": url, "batchq_redis_url": stack.server.url}
    environment = {"KEEPALIVE_SETTINGS": json.dumps(settings)}
    worker = stack.worker(APP, environment=environment, wait=False)
    stack.beat(APP, environment=environment)
    worker.wait_for_output(" ready.")
    reader: Celery[Any] = Celery("reader", backend=url, set_as_current=False)
    sent = app.send_task(start.name)
    chord_id = reader.AsyncResult(sent.id).get(timeout=15)
    assert reader.AsyncResult(chord_id).get(timeout=20) == json.dumps(
        ["apples, says the model", "BEARS"]
    )
