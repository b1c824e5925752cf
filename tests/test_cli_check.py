"""`check`: each fault of a set-up is named, and one that is well is let through."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery

import batchq
from batchq.commands.checks import Check, checks
from batchq.journal import BatchRecord, LaneRecord, LongRun, Sample, Sums
from batchq.journal.facts import Facts
from batchq.observe.diagnosis import Seen
from batchq.observe.diagnosis.memory import full_after
from batchq.observe.diagnosis.seen import Look, Results, SetUp
from batchq.observe.reading import Reading
from batchq.prompt import Lane
from batchq.settings.config import settings, sources
from batchq.settings.record import Settings
from tests.apps.base import make_app
from tests.commands import Commands
from tests.harness import ROOT, Emulator, Server, Stack, wait_until
from tests.journals import LANE, Asked, capture
from tests.test_clocks import LIBRARY, needs_faketime, shifted
from tests.test_flow import Steps

HOUR = 3600
MINUTE = 60_000


def check(
    module: str, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    import os

    argv = [sys.executable, "-m", "celery", "--app", module, "batchq", "check", *words]
    env = os.environ | dict(environment or {})
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


# A set-up that is broken, and one that is not


@pytest.fixture
def evicting(server: Server) -> Iterator[Server]:
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    yield server
    server.client.config_set("maxmemory-policy", "noeviction")


FAULTS = {
    ("redis", "problem", "allkeys-lru"),
    ("schedule", "problem", "no entry for batchq.flush and batchq.rescue"),
    ("beat", "problem", "never been seen, and no worker stands in"),
    ("workers", "problem", "no worker answers"),
    ("provider", "problem", "account 'default' does not answer"),
    ("provider", "problem", "account 'refused' does not answer: its key is refused (401)"),
    ("provider", "problem", "account 'away' does not answer"),
    ("results", "problem", "chords expire after 30 s"),
    ("results", "warning", "results expire after 30 s"),
    ("broker", "problem", "held for 20 s is delivered again"),
    ("broker", "problem", "accept_content has no json"),
    ("broker", "warning", "a task may run for 10 min"),
    ("celery", "warning", "is cut off after 3 s (task_soft_time_limit)"),
    ("celery", "warning", "may begin 10/m (task_annotations)"),
    ("celery", "warning", "takes all that wait (worker_prefetch_multiplier)"),
    ("live", "problem", "task_always_eager is on"),
    ("times", "problem", "flushed by their size only"),
    ("times", "problem", "one batch may take 21 h"),
    ("times", "warning", "cancelled after 20 h"),
    ("storage", "problem", "/nowhere/at/all (batchq_large_bodies) cannot be used: No such file"),
    ("secrets", "problem", "NOBODY_SET_THIS_EITHER"),
    ("memory", "warning", "at the pace of the last hours"),
    ("batches", "warning", "batch late is not submitted yet"),
    ("lanes", "problem", "account 'gone' is not in batchq_accounts"),
    ("lanes", "problem", "lane gone|/v1/responses|gpt-5.6-luna| is stuck, its account is not in"),
    ("budget", "warning", "100 % of the budget of"),
    ("tasks", "warning", "2 tasks waited for longer"),
    ("tasks", "problem", "1 task is dead"),
    ("batchq", "warning", "Batchq itself has failed with TypeError at elsewhere, 1 time, last"),
}


def make_it_worse(steps: Steps, tasks: list[Asked], gone: Lane) -> None:
    """What takes days to become as wrong as this: waits, pace, costs."""
    client, journal = steps.server.client, steps.journal
    for task in tasks:
        client.zadd("{batchq}:waiting", {task.task_id: 1})
    client.zadd("{batchq}:dead", {tasks[0].task_id: 1})
    limits = journal.store.config.accounts["default"].limits
    journal.lanes.seal(LANE, "late", limits=limits, tokens=10**9)
    steps.set("late", sealed_at=1)
    client.zadd("{batchq}:batches", {"late": journal.clock.now() + 60_000})
    head = {"first": tasks[1].custom_ids[0], "since": 1}
    client.hset(journal.store.key("head", gone.name), mapping=head)  # type: ignore[arg-type]
    minutes = journal.clock.now() // 60_000 - 60
    client.hset(f"{{batchq}}:minutes:{minutes // 60}", str(minutes % 60), "0 0 0")
    journal.tallies.take_sample(waiting=1_000_000_000, batched=0)
    journal.own_errors.note(TypeError())
    today = datetime.fromtimestamp(journal.clock.now() / 1000, tz=UTC).date()
    client.hset(f"{{batchq}}:day:{today}", "cost", "1000000")


def test_every_fault_of_a_broken_set_up_is_named(evicting: Server, emulator: Emulator) -> None:
    emulator.fault("unauthorized", times=None)
    steps = Steps(evicting, emulator, make_app("before"))
    gone = Lane(account="gone", endpoint="/v1/responses", model="gpt-5.6-luna")
    tasks = [capture(steps.journal), capture(steps.journal, lane=gone)]
    make_it_worse(steps, tasks, gone)
    done = check("tests.apps.broken", "--json", "--timeout", "0.2")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    found = [(one["about"], one["level"], one["what"]) for one in told["checks"]]
    for about, level, words in sorted(FAULTS):
        hits = [what for a, lv, what in found if (a, lv) == (about, level) and words in what]
        assert len(hits) == 1, (about, level, words, found)
    # Nothing else is wrong, and each says what to do.
    wrong = [one for one in told["checks"] if one["level"] in {"problem", "warning"}]
    assert len(wrong) == len(FAULTS), wrong
    assert all(one["do"] for one in wrong)
    assert told["problems"] + told["warnings"] == len(FAULTS)
    assert {one["about"] for one in told["checks"] if one["level"] == "ok"} == set()
    shown = check("tests.apps.broken", "--skip", "workers", "--skip", "provider")
    assert shown.returncode == 1
    assert "problem  schedule" in shown.stdout
    assert "hunter2" not in shown.stdout + done.stdout
    assert "no worker answers" not in shown.stdout


def test_a_set_up_that_is_well_is_let_through(stack: Stack) -> None:
    environment = {
        "INSTALLED_SETTINGS": json.dumps({"result_expires": 3 * 24 * HOUR, "batchq_tick": 1})
    }
    stack.worker("tests.apps.installed", environment=environment)
    stack.beat("tests.apps.installed", environment=environment)
    wait_until(lambda: stack.redis.exists("{batchq}:beat"), description="beat ticks")
    done = check("tests.apps.installed", "--json", environment=environment)
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert (told["problems"], told["warnings"], done.stderr) == (0, 0, "")
    assert {one["about"] for one in told["checks"] if one["level"] == "ok"} == {
        *("redis", "memory", "schedule", "beat", "workers", "provider", "results"),
        *("broker", "celery", "live", "times", "storage", "secrets", "lanes", "batches"),
        *("budget", "tasks"),
        "batchq",
    }
    # It is told to take nothing from there any more, as one that was started with --queues.
    stack.app("tests.apps.installed").control.cancel_consumer("batchq", reply=True)
    again = check("tests.apps.installed", "--skip", "provider", environment=environment)
    assert again.returncode == 1
    assert "no worker consumes the queue 'batchq'" in again.stdout


@needs_faketime
def test_a_clock_that_is_off_is_named(server: Server, emulator: Emulator) -> None:
    assert LIBRARY is not None
    done = check("tests.apps.journey", "--skip", "workers", "--json", environment=shifted("-10m"))
    told = json.loads(done.stdout)
    warned = {one["about"]: one["what"] for one in told["checks"] if one["level"] == "warning"}
    assert "behind that of Redis" in warned["redis"]
    assert "behind that of account 'default'" in warned["provider"]


def test_without_redis_the_rest_is_looked_at(emulator: Emulator) -> None:
    url = "redis://somebody:hunter2@127.0.0.1:1/0"
    app = make_app("away", broker_url=url, result_backend=url)
    app.conf.broker_connection_timeout = 0.2
    result = Commands(app).run("check", "--skip", "workers", code=3)
    assert "problem  redis     Redis redis://somebody:***@127.0.0.1:1/0" in result.stdout
    assert "ok       provider" in result.stdout
    assert "ok       schedule" in result.stdout
    assert "beat ticks" not in result.stdout, "nobody has looked"
    assert "hunter2" not in result.output


def test_wrong_settings_are_a_problem_too() -> None:
    cli = Commands(make_app("wrong", batchq_tick=0))
    assert "problem  settings  batchq_tick = 0: accepted is" in cli.out("check", code=1)
    assert cli.json("check", code=1)["problems"] == 1


def test_a_level_can_be_let_through(server: Server, emulator: Emulator) -> None:
    steps = Steps(server, emulator, make_app("warned", result_expires=HOUR))
    steps.journal.beat.note()
    cli = Commands(steps.app)
    assert "warning  results" in cli.out("check", "--skip", "workers", code=1)
    assert "0 problems" in cli.out("check", "--skip", "workers", "--fail-on", "problem")


# Settings and their source


def test_a_setting_says_where_its_value_comes_from() -> None:
    app: Any = Celery("told", set_as_current=False, broker="redis://:hunter2@127.0.0.1:1/0")
    app.conf.update(batchq_flush_at="02:30", batchq_tick=7)
    batchq.install(app)
    found = sources(app)
    assert found["redis_url"] == "broker_url"
    assert (found["tick"], found["flush_at"], found["flush_after"]) == (
        *("app", "app"),
        "batchq_flush_at",
    )
    assert found["accounts"] == "environment"
    assert set(found) == set(Settings.model_fields)
    told = Commands(app).json("check", "--skip", "workers", "--skip", "provider", code=3)
    by_name = {one["setting"]: one for one in told["settings"]}
    assert by_name["batchq_tick"] == {"setting": "batchq_tick", "value": 7.0, "source": "app"}
    assert by_name["batchq_redis_url"]["value"] == "redis://:***@127.0.0.1:1/0"
    assert by_name["batchq_lease"]["source"] == "default"


# Each rule


NOW = 10**12
"""A moment of Redis's clock."""


def seen(**changes: Any) -> Seen:
    """A set-up that is well, with some changes."""
    app = make_app("rules", batchq_tick=5, batchq_flush_after=900, result_expires=3 * 24 * HOUR)
    app.finalize()

    def of(record: type) -> dict[str, Any]:
        return {name: changes.pop(name) for name in list(changes) if name in record.__annotations__}

    config = settings(app).model_copy(update=of(Settings))
    set_up: dict[str, Any] = {
        "conf": {"accept_content": ["json"]},
        "schedule": app.conf.beat_schedule,
        "results": Results(in_redis=True, expire=259_200, chords_expire=259_200, asks_every=1),
        "broker": "redis",
    }
    well: dict[str, Any] = {
        **dict.fromkeys("waiting resuming overdue".split(), 0),
        **{name: {} for name in ("late", "sums", "learned", "counters")},
        "at": NOW,
        "took": timedelta(0),
        "beat": NOW - 1_000,
        "stands_in": None,
        "lanes": (),
        "held": frozenset(),
        "batches": (),
    }
    known: dict[str, Any] = {
        "set_up": SetUp(**set_up | of(SetUp)),
        "reading": Reading(config=config, **well | of(Reading)),
        "facts": Facts(),
        "consumers": {"one@here": frozenset({"celery", "batchq"})},
        "providers": {"default": Look(ahead=timedelta(seconds=1))},
    }
    return Seen(settings=config, **known | changes)


def found(seen: Seen) -> list[tuple[str, str]]:
    return [(one.about, one.level) for one in checks(seen) if one.level != "ok"]


def words(seen: Seen) -> str:
    return "\n".join(f"{one.what} {one.do}" for one in checks(seen) if one.level != "ok")


def test_a_set_up_that_is_well_has_nothing_to_say() -> None:
    told = checks(seen())
    assert {one.level for one in told} == {"ok"}
    assert len({one.about for one in told}) == len(told)
    assert all(isinstance(one, Check) for one in told)


def test_what_nobody_has_looked_at_is_not_called_well() -> None:
    told = checks(seen(reading=None, facts=None, consumers=None, providers=None))
    assert {one.about for one in told} == {
        *("schedule", "results", "broker", "celery", "live", "times", "secrets")
    }


LANE_OF_ONE = LaneRecord(
    lane=LANE, prompts=1, bytes=10, tokens=1, oldest=timedelta(minutes=1), held=True
)
DEAD_LANE = replace(LANE_OF_ONE, lane=replace(LANE, account="gone"), held=False)
BATCH = BatchRecord(
    id="b",
    lane=replace(LANE, account="gone"),
    state="submitted",
    lines=1,
    bytes=1,
    tokens=1,
    sealed_at=1,
)
DJANGO_BEAT = {
    "accept_content": ["json"],
    "beat_scheduler": "django_celery_beat.schedulers:DatabaseScheduler",
}
STEP = replace(BATCH, lane=LANE, sealed_at=NOW)
NO_FILE = Facts(info={"aof_enabled": 0})
EVICTS = Facts(info={"maxmemory_policy": "allkeys-lru"})


@pytest.mark.parametrize(
    ("changes", "about", "level", "said"),
    [
        ({"facts": NO_FILE}, "redis", "warning", "append-only"),
        ({"facts": EVICTS}, "redis", "problem", "allkeys-lru"),
        ({"lost_at": 1}, "redis", "warning", "the journal was lost, as was found at 1970"),
        ({"redis_error": "refused"}, "redis", "problem", "cannot be used: refused"),
        ({"schedule": {}}, "schedule", "problem", "batchq.flush and batchq.rescue"),
        (
            {"conf": DJANGO_BEAT, "tick": timedelta(seconds=0.5)},
            *("schedule", "problem", "keeps whole seconds, and of batchq_tick (0.5 s) only 0"),
        ),
        ({"beat": NOW - 16_000}, "beat", "problem", "is away, and no worker stands in"),
        ({"beat": 0}, "beat", "problem", "has never been seen"),
        ({"beat": 0, "stands_in": "w1"}, "beat", "warning", "w1 stands in"),
        ({"consumers": {}}, "workers", "problem", "no worker answers"),
        ({"consumers": {"w": frozenset({"celery"})}}, "workers", "problem", "queue 'batchq'"),
        ({"workers_error": "no broker"}, "workers", "problem", "no broker"),
        ({"providers": {"a": Look(error="gone")}}, "provider", "problem", "'a' does not answer"),
        (
            {"providers": {"a": Look(ahead=timedelta(minutes=2))}},
            *("provider", "warning", "2 min ahead of"),
        ),
        ({"results": None}, "results", "info", "no result backend"),
        ({"conf": {"accept_content": ["pickle"]}}, "broker", "problem", "no json"),
        (
            {"conf": {"accept_content": ["json"], "task_always_eager": True}},
            *("live", "problem", "live price"),
        ),
        ({"flush_after": None}, "times", "problem", "by their size only"),
        ({"flush_after": timedelta(days=13)}, "times", "problem", "waits in its lane for up to 13"),
        ({"keep_journal": timedelta(hours=27)}, "times", "problem", "raise batchq_keep_journal"),
        ({"batch_deadline": timedelta(hours=12)}, "times", "warning", "cancelled after 12 h"),
        ({"key_error": "no key"}, "secrets", "problem", "no key"),
        ({"show_prompts": True}, "secrets", "info", "batchq_show_prompts"),
        ({"lanes": (LANE_OF_ONE,)}, "lanes", "info", "held, with 1 prompt"),
        (
            {"lanes": (replace(LANE_OF_ONE, held=False, paused=timedelta(1)),)},
            *("lanes", "info", "no room"),
        ),
        ({"lanes": (DEAD_LANE,)}, "lanes", "problem", "account 'gone'"),
        ({"batches": (BATCH,)}, "lanes", "problem", "account 'gone'"),
        (
            {
                "lanes": (replace(LANE_OF_ONE, held=False),),
                "at_head": {LANE: timedelta(hours=1)},
            },
            *("lanes", "problem", "is stuck, nothing flushes it: 1 prompt"),
        ),
        (
            {"batches": (STEP,), "late": {"b": timedelta(minutes=11)}},
            *("batches", "problem", "nobody takes the next step of batch b"),
        ),
        (
            {"batches": (replace(STEP, state="uploaded", sealed_at=NOW - 31 * MINUTE),)},
            *("batches", "warning", "batch b is not submitted yet"),
        ),
        (
            {"batches": (replace(STEP, state="sealed", sealed_at=1, dead_at=1),)},
            *("tasks", "problem", "1 batch is dead"),
        ),
        (
            {"budget": 1, "today": Sums(cost=10**9)},
            *("budget", "warning", "100 % of the budget of $1.00 for 2001-09-09 is reached"),
        ),
        ({"budget": 1, "today": Sums(cost=8 * 10**8)}, "budget", "info", "80 %"),
        ({"overdue": 1}, "tasks", "warning", "1 task waited"),
        (
            {"long_runs": (LongRun(task_id="t", name="say", began_at=1),)},
            *("tasks", "warning", "the body of say [t] has run for longer than"),
        ),
        ({"dead_tasks": (("t", 1), ("u", 1))}, "tasks", "problem", "2 tasks are dead"),
    ],
)
def test_a_fault_alone_is_the_only_one(
    changes: dict[str, Any], about: str, level: str, said: str
) -> None:
    one = seen(**changes)
    assert found(one) == [(about, level)]
    assert said in words(one)


@pytest.mark.parametrize(
    ("expire", "chords", "levels"),
    [
        (0, 0, []),
        (259_200, 259_200, []),
        (86_400, 259_200, ["info"]),
        (86_399, 86_399, ["warning"]),
        (59, 59, ["problem", "warning"]),
        (60, 60, ["warning"]),
        (259_200, 59, ["problem"]),
    ],
)
def test_results_in_redis_are_to_outlive_the_wait(
    expire: int, chords: int, levels: list[str]
) -> None:
    results = Results(in_redis=True, expire=expire, chords_expire=chords, asks_every=1)
    assert found(seen(results=results)) == [("results", level) for level in levels]


@pytest.mark.parametrize(
    ("expire", "asks_every", "count"), [(0, 60, 0), (86_400, 60, 1), (0, 1, 1), (500_000, 10, 0)]
)
def test_results_elsewhere_are_not_prolonged(expire: int, asks_every: float, count: int) -> None:
    results = Results(in_redis=False, expire=expire, chords_expire=0, asks_every=asks_every)
    assert found(seen(results=results)) == [("results", "warning")] * count


@pytest.mark.parametrize(
    ("broker", "held", "levels"),
    [
        ("redis", None, []),
        ("redis", 300, []),
        ("redis", 299, ["warning"]),
        ("redis", 30, ["problem"]),
        ("redis", 0, ["problem"]),
        ("sqs", None, []),
        ("amqp", 1, []),
    ],
)
def test_messages_are_to_be_held_for_long_enough(
    broker: str, held: int | None, levels: list[str]
) -> None:
    options = {} if held is None else {"visibility_timeout": held}
    conf = {"accept_content": ["json"], "broker_transport_options": options}
    assert found(seen(broker=broker, conf=conf)) == [("broker", level) for level in levels]


def test_a_schedule_by_the_clock_may_be_too_rare() -> None:
    app = make_app("rare", batchq_flush_at="0 0 1 1 *", batchq_flush_after=None)
    config = settings(app)
    (at,) = config.flush_at
    left = at.remaining_estimate(at.now())
    expected = [("times", "problem")] if left > config.keep_journal * 9 / 10 else []
    rare = seen(flush_after=None, flush_at=config.flush_at)
    assert found(rare) == expected
    daily = settings(make_app("daily", batchq_flush_at="02:30", batchq_flush_after=None))
    assert found(seen(flush_after=None, flush_at=daily.flush_at)) == []


def samples(*outstanding: int, minutes: int = 60) -> tuple[Sample, ...]:
    return tuple(
        Sample(at=number * minutes * 60_000, waiting=count, batched=0, answered=0)
        for number, count in enumerate(outstanding)
    )


def test_a_memory_that_fills_up_is_seen_coming() -> None:
    grown = samples(0, 500, 1_000)
    assert full_after(grown, used=0, limit=10_000_000, each=2_500) == timedelta(hours=8)
    assert full_after(grown, used=10_000_000, limit=10_000_000, each=2_500) == timedelta(0)
    assert full_after(samples(5, 5), used=0, limit=10, each=1) is None, "it does not grow"
    assert full_after(samples(9, 5), used=0, limit=10, each=1) is None
    assert full_after(samples(1), used=0, limit=10, each=1) is None
    assert full_after(samples(0, 9, minutes=5), used=0, limit=10, each=1) is None, "too short"
    assert full_after(grown, used=0, limit=0, each=1) is None, "nobody knows the limit"
    facts = Facts(info={"used_memory": 0, "maxmemory": 10_000_000})
    one = seen(facts=facts, samples=grown)
    assert found(one) == [("memory", "warning")]
    assert "maxmemory (10,000,000 bytes) is full in 8 h" in words(one)
    large = Facts(info={"used_memory": 0, "maxmemory": 0, "total_system_memory": 10**12})
    assert found(seen(facts=large, samples=grown)) == []


def test_large_requests_in_redis_are_told_of_by_their_bytes() -> None:
    images = replace(LANE_OF_ONE, held=False, prompts=20, bytes=20 * 7_000_000)
    texts = replace(LANE_OF_ONE, held=False, prompts=200_000, bytes=20 * 7_000_000)
    small = Facts(info={"used_memory": 0, "maxmemory": 600_000_000})
    told = seen(facts=small, lanes=(images, texts))
    assert found(told) == [("memory", "warning")]
    assert "the requests of 20 prompts that wait have 140,000,000 bytes" in words(told)
    assert "batchq_large_bodies" in words(told)
    assert found(seen(facts=small, lanes=(texts,))) == [], "many small ones are no large ones"
    roomy = Facts(info={"used_memory": 0, "maxmemory": 6_000_000_000})
    assert found(seen(facts=roomy, lanes=(images,))) == []
    assert found(seen(facts=small, lanes=(images,), large_bodies="/shared")) == []
    flying = replace(BATCH, lane=LANE, lines=20, bytes=20 * 7_000_000)
    assert found(seen(facts=small, batches=(flying,))) == [("memory", "warning")]


def test_a_storage_that_cannot_be_used_is_a_problem() -> None:
    assert found(seen(storage_error="the storage /x cannot be used")) == [("storage", "problem")]
