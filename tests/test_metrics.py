"""The collector on a plain registry: its numbers after real journeys, what it does without a Redis,
and that the documents, the dashboard and the alerts know its names.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from batchq import control
from batchq.decide.flush import late_by
from batchq.flow.flush import flush
from batchq.flow.rescue import rescue
from batchq.journal import TURNAROUNDS, BatchRecord, LaneRecord, Sums
from batchq.metrics import collector
from batchq.observe.catalogue import METRICS
from batchq.observe.measures import measure
from batchq.observe.reading import Reading
from batchq.observe.sheet import Shown
from batchq.prompt import Lane
from batchq.settings.config import settings
from tests.apps.base import make_app
from tests.harness import ROOT, Emulator, Server, wait_until
from tests.journals import LANE, capture, capture_many, chat, claim
from tests.proxy import Proxy
from tests.scrapes import Scrape, scrape
from tests.test_flow import EMBEDDINGS, Steps

NEVER_WAITS = timedelta(0)


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Steps:
    return made(server, emulator)


def made(server: Server, emulator: Emulator, **options: Any) -> Steps:
    app = make_app(
        "metrics",
        **{
            "batchq_poll_first": 0.05,
            "batchq_poll_longest": 0.3,
            "batchq_tick": 0.2,
            "batchq_accounts": {"default": {"prices": "openai"}},
            **options,
        },
    )
    return Steps(server, emulator, app)


# A journey


def test_a_journey_is_seen_from_its_first_prompt_to_its_cost(steps: Steps) -> None:
    for number in range(5):
        capture(steps.journal, chat(f"question {number}"))
    capture(steps.journal, b'{"model": "x", "input": "a"}', lane=EMBEDDINGS, inputs=1)
    control.hold(steps.app, EMBEDDINGS)
    (lane,) = [record for record in steps.journal.lanes.all() if record.lane == LANE]
    page = scrape(steps.app)
    assert page.value("up") == 1
    assert page.value("prompts", LANE, state="waiting") == 5
    assert page.value("prompts", LANE, state="batched") == 0
    assert page.value("tokens", LANE, state="waiting") == lane.tokens > 0
    assert 0 < page.value("oldest_prompt_age_seconds", LANE) < 30
    assert page.value("answered_total", LANE) == 0, "there before the first batch is over"
    assert page.value("lane_held", EMBEDDINGS) == 1
    assert page.value("lane_held", LANE) == 0

    batch = steps.submitted()
    page = scrape(steps.app)
    assert page.value("prompts", LANE, state="waiting") == 0
    assert page.value("prompts", LANE, state="batched") == 5
    assert page.value("tokens", LANE, state="batched") == batch.tokens == lane.tokens
    assert sum(page.all("batches", state="submitted", account="default").values()) == 1
    assert page.value("oldest_batch_age_seconds", LANE, state="submitted") > 0
    assert page.value("prompts", EMBEDDINGS, state="waiting") == 1
    assert page.value("tasks", state="waiting") == 6

    steps.until_over()
    page = scrape(steps.app)
    ledger = steps.emulator.ledger()["totals"]["batch"]
    assert sum(page.all("batches").values()) == 0
    assert page.value("answered_total", LANE) == ledger["ok"] == 5
    assert page.value("attempts_total", LANE) == 5
    assert page.value("closed_batches_total", LANE, status="completed") == 1
    assert page.value("cost_dollars_total", LANE) == ledger["cost_usd"] > 0
    assert page.value("saved_dollars_total", LANE) == ledger["cost_usd"]
    assert page.value("live_cost_dollars_total", LANE) == 2 * ledger["cost_usd"]
    assert page.value("input_tokens_total", LANE) == ledger["input_tokens"]
    assert page.value("output_tokens_total", LANE) == ledger["output_tokens"]
    assert page.value("estimated_answers_total", LANE) == 0
    assert page.value("unpriced_answers_total", LANE) == 0
    assert page.value("captured_total") == 6
    assert page.value("outcomes_total") == 5
    assert page.value("tasks", state="resuming") == 5
    # The lane that nobody flushed has had nothing.
    assert page.value("answered_total", EMBEDDINGS) == 0


def test_batches_are_in_the_classes_of_their_turnaround(steps: Steps) -> None:
    for took in (0, 1000, 90_000):
        capture(steps.journal, chat(f"one that takes {took} s"))
        batch = steps.submitted()
        if took:
            steps.set(batch.id, submitted_at=batch.submitted_at - took * 1000)
        steps.until_over()
    page = scrape(steps.app)
    counts = {
        dict(labels)["le"]: count
        for labels, count in page.all("batch_turnaround_seconds_bucket", model=LANE.model).items()
    }
    assert list(counts) == [*(str(float(end)) for end in TURNAROUNDS), "+Inf"]
    assert (counts["60.0"], counts["900.0"], counts["1800.0"]) == (1, 1, 2)
    assert (counts["86400.0"], counts["+Inf"]) == (2, 3)
    assert page.value("batch_turnaround_seconds_count", LANE) == 3
    total = page.value("batch_turnaround_seconds_sum", LANE)
    assert total == steps.journal.tallies.lanes()[LANE].turnaround / 1000
    assert 91_000 <= total < 91_060


def test_what_failed_is_counted_by_its_code(steps: Steps) -> None:
    steps.emulator.fault("line_error", first=2)
    capture_many(steps.journal, 5)
    steps.submitted()
    steps.until_over()
    (code,) = steps.journal.batches.closed(1)[0].errors
    page = scrape(steps.app)
    assert page.value("errors_total", LANE, code=code) == page.value("failed_total", LANE) == 2
    assert page.value("answered_total", LANE) == 3
    assert page.value("attempts_total", LANE) == 5


def test_every_prompt_of_a_batch_that_the_provider_does_not_take_has_failed(steps: Steps) -> None:
    """They all got the error, and the sums knew nothing of it: no alert would have said so."""
    steps.emulator.fault("call_error", call="create", status=400, code="odd", times=None)
    asked = capture_many(steps.journal, 3)
    flush(steps.app, everything=True)
    steps.until_over()
    page = scrape(steps.app)
    ((codes, failed),) = page.all("errors_total").items()
    assert failed == page.value("failed_total", LANE) == 3
    assert page.value("closed_batches_total", LANE, status="refused") == 1
    assert page.value("attempts_total", LANE) == 0, "none of them has run"
    record = steps.journal.views.task(asked[0].task_id)
    assert record is not None
    assert record.calls[0].code == dict(codes)["code"]
    assert steps.journal.batches.closed(1)[0].failed_rows == 3


def test_every_prompt_of_a_hopeless_file_has_failed(steps: Steps) -> None:
    steps.emulator.fault("model_not_found")
    capture_many(steps.journal, 3)
    steps.submitted()
    steps.until_over()
    page = scrape(steps.app)
    assert page.value("errors_total", LANE, code="model_not_found") == 3
    assert page.value("closed_batches_total", LANE, status="failed") == 1
    assert page.value("attempts_total", LANE) == 0


def test_what_is_missing_from_every_file_has_failed_in_the_end(
    server: Server, emulator: Emulator
) -> None:
    steps = made(server, emulator, batchq_max_attempts=2)
    emulator.fault("missing_rows", first=1, times=None)
    capture_many(steps.journal, 1)
    steps.submitted()
    for _ in range(2):
        steps.until(lambda: steps.only().looks, "its files are missed")
        steps.advance(settings(steps.app).files_grace)
        steps.until_over()
        flush(steps.app)
    steps.until(lambda: steps.journal.tallies.counters().get("answered"), "it got its error")
    steps.until_over()
    page = scrape(steps.app)
    assert page.value("attempts_total", LANE) == 2
    assert page.value("asked_again_total", LANE) == 1
    assert page.value("failed_total", LANE) == 1


# Lanes


def test_a_learned_limit_is_shown_and_a_lane_without_room_is_not_late(steps: Steps) -> None:
    steps.emulator.fault("token_limit_exceeded", limit=50)
    capture_many(steps.journal, 3, tokens=40)
    flush(steps.app, everything=True)
    steps.until_over()
    page = scrape(steps.app)
    assert page.value("token_limit", account="default", model=LANE.model) == 50
    assert page.value("lane_without_room", LANE) == 1
    assert page.value("lane_late_seconds", LANE) == 0
    assert page.value("prompts", LANE, state="waiting") == 3


def test_a_limit_that_is_set_counts_where_it_is_the_lower_one(steps: Steps) -> None:
    def shown(enqueued: Any, learned: dict[tuple[str, str], int]) -> float:
        app = make_app(
            "limits", batchq_accounts={"default": {"limits": {"enqueued_tokens": enqueued}}}
        )
        known = reading(settings(app), lanes=(lane_record(),), learned=learned)
        return measure(known, Shown()).values["token_limit"]["default", LANE.model]

    kind = ("default", LANE.model)
    assert shown(100, {}) == 100
    assert shown({LANE.model: 100}, {kind: 70}) == 70
    assert shown(100, {kind: 700}) == 100
    assert shown({"another": 100}, {kind: 700}) == 700


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("lane", "options", "late"),
    [
        ({"oldest": 40 * MINUTE}, {}, 25),
        ({"oldest": 10 * MINUTE}, {}, 0),
        ({"oldest": 40 * MINUTE, "held": True}, {}, 0),
        ({"oldest": 40 * MINUTE, "prompts": 0}, {}, 0),
        # What is full has been so nobody knows since when.
        ({"oldest": 10 * MINUTE, "prompts": 10_000}, {}, 0),
        ({"oldest": 40 * MINUTE}, {"batchq_flush_at": "02:30"}, 0),
        ({"oldest": 40 * MINUTE, "called": 3 * MINUTE}, {"batchq_flush_at": "02:30"}, 3),
        ({"oldest": 3 * MINUTE, "called": 40 * MINUTE}, {"batchq_flush_at": "02:30"}, 0),
        ({"oldest": 40 * MINUTE, "called": 3 * MINUTE}, {}, 25),
        ({"oldest": 2 * MINUTE}, {"batchq_flush_after": 0}, 2),
        # Its account is gone: nobody flushes it, and it is late all the same.
        (
            {"oldest": 40 * MINUTE, "lane": Lane(account="gone", endpoint="/v1/x", model="y")},
            {},
            25,
        ),
    ],
)
def test_it_is_told_how_late_a_lane_is(
    lane: dict[str, Any], options: dict[str, Any], late: int
) -> None:
    app = make_app("late", **{"batchq_flush_after": 900, **options})
    if "batchq_flush_at" in options:
        app.conf.batchq_flush_after = None
    assert late_by(lane_record(**lane), settings(app)) == late * MINUTE


def test_a_lane_that_nobody_flushes_is_late(server: Server, emulator: Emulator) -> None:
    steps = made(server, emulator, batchq_flush_after=0)
    asked = capture(steps.journal)
    earlier = steps.journal.clock.now() - 700_000
    server.client.zadd(steps.journal.store.lane_keys(LANE)[0], {asked.custom_ids[0]: earlier})
    assert 700 <= scrape(steps.app).value("lane_late_seconds", LANE) < 720


def test_a_batch_whose_step_nobody_takes_is_late(steps: Steps) -> None:
    capture(steps.journal)
    batch = steps.submitted()
    due = steps.journal.clock.now() - 400_000
    steps.server.client.zadd(steps.journal.store.key("batches"), {batch.id: due})
    assert 400 <= scrape(steps.app).value("batch_late_seconds", LANE) < 420
    with steps.journal.batches.lease(batch.id) as lease:
        assert lease is not None
        assert scrape(steps.app).value("batch_late_seconds", LANE) == 0, "somebody is at it"


# Of all


def test_beat_its_stand_in_the_dead_and_rescue_are_told(steps: Steps) -> None:
    capture(steps.journal)
    batch = steps.submitted()
    page = scrape(steps.app)
    assert page.value("beat_seen_timestamp_seconds") == 0, "never"
    assert page.value("stand_in") == 0
    assert page.value("rescued_total", what="poll") == 0

    steps.journal.beat.note()
    steps.journal.beat.stand_in("a worker", timedelta(minutes=1))
    for _ in range(3):
        lease, claimed = claim(steps.journal, "kills")
        assert claimed.word == "CLAIMED"
        steps.journal.store.redis.delete(lease.key)
    lease, _ = claim(steps.journal, "kills")
    steps.journal.runs.bury("kills", token=lease.token, message=b"m", state="FAILURE")
    steps.server.client.zadd(steps.journal.store.key("batches"), {batch.id: 1})
    rescue(steps.app)
    steps.set(batch.id, dead_at=steps.journal.clock.now())
    page = scrape(steps.app)
    assert abs(page.value("beat_seen_timestamp_seconds") - time.time()) < 10
    assert page.value("stand_in") == 1
    assert page.value("dead", kind="task") == page.value("dead", kind="batch") == 1
    assert page.value("rescued_total", what="poll") == 1
    steps.journal.tallies.count("extra_batches")
    assert scrape(steps.app).value("extra_batches_total") == 1


def test_a_task_that_waits_too_long_is_overdue(steps: Steps) -> None:
    asked = capture(steps.journal)
    assert scrape(steps.app).value("overdue_tasks") == 0
    steps.server.client.zadd(steps.journal.store.key("waiting"), {asked.task_id: 1})
    assert scrape(steps.app).value("overdue_tasks") == 1


def test_no_word_of_a_prompt_and_no_id_is_on_the_page(steps: Steps) -> None:
    asked = capture(steps.journal, chat("the-word-nobody-may-see"), chat("another"))
    steps.emulator.fault("line_error", first=1)
    batch = steps.submitted()
    pages = [scrape(steps.app).text]
    steps.until_over()
    text = "".join([*pages, scrape(steps.app).text])
    secrets = ["the-word-nobody-may-see", asked.task_id, batch.id, batch.provider_id]
    assert [one for one in secrets if one in text] == []


# There is an end to labels


def lane_record(**known: Any) -> LaneRecord:
    usual = {"lane": LANE, "prompts": 1, "bytes": 10, "tokens": 1, "oldest": MINUTE}
    return LaneRecord(**{**usual, **known})


def reading(config: Any, **known: Any) -> Reading:
    usual: dict[str, Any] = {
        "at": 1_000_000,
        "took": timedelta(0),
        "lanes": (),
        "held": frozenset(),
        "batches": (),
        "late": {},
        "sums": {},
        "learned": {},
        "counters": {},
        "beat": 0,
        "stands_in": None,
    }
    counts = {"waiting": 0, "resuming": 0, "overdue": 0}
    return Reading(**{**usual, **counts, **known, "config": config})


def sums_of(codes: Mapping[str, int]) -> Sums:
    return Sums(failed=sum(codes.values()), others={f"error:{c}": n for c, n in codes.items()})


def test_codes_have_an_end_and_a_counter_never_falls() -> None:
    """Which fifty are the largest changes from day to day: a code that was pushed out would have
    come back as a counter that began anew.
    """
    config, shown = settings(make_app("codes")), Shown(codes=3)
    first = {LANE: sums_of({"a": 5, "b": 1, "c": 1, "d": 2})}
    errors = measure(reading(config, sums=first), shown).values["errors"]
    assert {labels[0]: n for labels, n in errors.items()} == {"a": 5, "b": 1, "c": 1, "other": 2}
    later = {LANE: sums_of({"e": 90, "d": 80, "c": 1, "b": 1, "a": 5})}
    errors = measure(reading(config, sums=later), shown).values["errors"]
    assert {labels[0]: n for labels, n in errors.items()} == {"a": 5, "b": 1, "c": 1, "other": 170}


def test_lanes_have_an_end_and_what_is_too_many_adds_up() -> None:
    config, shown = settings(make_app("lanes")), Shown(lanes=2)
    lanes = [Lane(account="default", endpoint="/v1/x", model="m", label=str(n)) for n in range(5)]
    records = tuple(
        lane_record(lane=lane, prompts=10 + number, oldest=number * MINUTE)
        for number, lane in enumerate(lanes)
    )
    batches = tuple(batch_record(lane=lane) for lane in lanes)
    known = reading(config, lanes=records, batches=batches, sums={lanes[4]: Sums(prompts=7)})
    values = measure(known, shown).values
    other = ("other",) * 4
    assert values["prompts"]["waiting", "default", "/v1/x", "m", "0"] == 10
    assert values["prompts"]["waiting", *other] == 12 + 13 + 14
    assert values["prompts"]["batched", *other] == 3
    assert values["oldest_prompt_age_seconds"][other] == 240, "the oldest of them"
    assert values["answered"][other] == 7
    # One that is gone leaves its place.
    later = reading(config, lanes=records[1:])
    values = measure(later, shown).values
    assert ("waiting", "default", "/v1/x", "m", "2") in values["prompts"]


def batch_record(**known: Any) -> BatchRecord:
    usual = {"id": "b", "lane": LANE, "state": "submitted", "lines": 1, "bytes": 1, "tokens": 1}
    return BatchRecord(**{**usual, "sealed_at": 1, **known})


def test_a_word_of_the_provider_that_nobody_knows_is_another() -> None:
    config = settings(make_app("words"))
    batches = tuple(batch_record(status=status) for status in ("validating", "odd", "odder"))
    sums = {LANE: Sums(others={"status:completed": 1, "status:odd": 2, "status:odder": 3})}
    values = measure(reading(config, batches=batches, sums=sums), Shown()).values
    lane = (LANE.account, LANE.endpoint, LANE.model, LANE.label)
    assert values["batches"]["submitted", "validating", *lane] == 1
    assert values["batches"]["submitted", "other", *lane] == 2
    assert values["closed_batches"]["other", *lane] == 5


# A scrape has an end


def test_registering_reads_nothing_and_twice_is_refused() -> None:
    app = make_app("nobody", batchq_redis_url="redis://127.0.0.1:1/0")
    registry = CollectorRegistry()
    registry.register(collector(app))
    assert threading.active_count() == len(
        [t for t in threading.enumerate() if "batchq-metrics" not in t.name]
    )
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(collector(app))


def test_a_redis_that_is_away_is_a_number_and_no_error(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    steps = made(server, None)  # type: ignore[arg-type]  # nothing is sent here
    registry = CollectorRegistry()
    registry.register(collector(steps.app))

    def up() -> float | None:
        return registry.get_sample_value("batchq_up")

    assert up() == 1
    server.stop()
    with caplog.at_level(logging.WARNING, "batchq.metrics"):
        wait_until(lambda: up() == 0, description="it is away")
        assert registry.get_sample_value("batchq_build_info", {"version": "0.1.0"}) == 1
        assert registry.get_sample_value("batchq_captured_total") is None, "nobody knows"
        server.start()
        wait_until(lambda: up() == 1, description="it is back")
    words = [record.getMessage() for record in caplog.records]
    assert len(words) == 2, words
    assert "cannot be read" in words[0]
    assert "again" in words[1]


def test_a_redis_that_says_nothing_holds_a_scrape_up_for_a_bounded_time(server: Server) -> None:
    """A firewall that forgets: a packet goes out, and nothing ever comes back."""
    with Proxy(server.port.number) as link:
        app = make_app("silent", batchq_redis_url=f"redis://127.0.0.1:{link.port}/0")
        assert scrape(app).value("up") == 1
        link.mode = "blackhole"
        assert scrape(app).value("up") == 0, "nobody lets it go on, and it ends all the same"
        link.mode = "pass"
        wait_until(lambda: scrape(app).value("up") == 1, description="it is back")


def test_who_does_not_wait_is_never_held_up(server: Server) -> None:
    """Flower collects in its loop."""
    steps = made(server, None)  # type: ignore[arg-type]  # nothing is sent here
    capture(steps.journal)
    registry = CollectorRegistry()
    one = collector(steps.app, patience=NEVER_WAITS)
    registry.register(one)

    def page() -> Scrape:
        return Scrape.of_text(generate_latest(registry).decode())

    # Who waited for it would wait for good.
    server.pause()
    first = page()
    assert "batchq_up" not in first.names, "nobody knows yet"
    assert first.value("build_info", version="0.1.0") == 1
    server.resume()
    # Each scrape begins a reading for the next.
    wait_until(lambda: "batchq_up" in page().names and page().value("up"), description="it reads")
    assert page().value("captured_total") == 1
    capture(steps.journal)
    wait_until(lambda: page().value("captured_total") == 2, description="it reads on")
    # Or somebody reads first, where it holds nobody up.
    capture(steps.journal)
    wait_until(lambda: not one._reader._last.is_fresh, description="the last one is not fresh")  # type: ignore[union-attr]
    one.refresh()
    assert page().value("captured_total") == 3


def test_scrapes_within_a_second_are_one_reading(server: Server) -> None:
    steps = made(server, None)  # type: ignore[arg-type]  # nothing is sent here
    registry = CollectorRegistry()
    registry.register(collector(steps.app))
    generate_latest(registry)
    time_before, reads = time.monotonic(), readings(server)
    threads = [
        threading.Thread(target=lambda: [generate_latest(registry) for _ in range(5)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - time_before
    assert readings(server) - reads <= took + 1


def readings(server: Server) -> int:
    """How often the open batches were asked for: once for each reading."""
    found: dict[str, Any] = server.client.info("commandstats")
    return sum(int(found.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("zrevrange",))


def test_a_collector_that_was_made_before_a_fork_works_after_it(redis_url: str) -> None:
    """A web server loads the app once and forks: neither thread nor lock comes along."""
    code = (
        "import os\n"
        "from prometheus_client import CollectorRegistry\n"
        "from tests.apps.base import make_app\n"
        "from batchq.metrics import collector\n"
        "registry = CollectorRegistry()\n"
        "registry.register(collector(make_app('forks')))\n"
        "print(registry.get_sample_value('batchq_up'), flush=True)\n"
        "pid = os.fork()\n"
        "print(registry.get_sample_value('batchq_up'), flush=True)\n"
        "if pid: os.waitpid(pid, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout.split() == ["1.0", "1.0", "1.0"], done.stderr


def test_wrong_settings_are_no_error_of_a_scrape(redis_url: str) -> None:
    app = make_app("wrong", batchq_tick=-1)
    assert scrape(app).value("up") == 0


# The documents know the names


def test_the_page_names_every_metric_with_its_labels(steps: Steps) -> None:
    text = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(batchq_\w+)` \| (\w+) \|([^|]*)\|", text, re.MULTILINE)
    told = {name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in rows}
    lane = ["account", "endpoint", "model", "label"]
    for kind, labels in told.values():
        assert kind in {"gauge", "counter", "histogram"}
        if labels[-1:] == ["lane"]:
            labels[-1:] = lane
    metrics = {one.name: (one.kind, list(one.labels)) for one in METRICS.values()}
    assert told == metrics

    steps.journal.own_errors.note(TypeError())
    capture_many(steps.journal, 2, tokens=40)
    steps.emulator.fault("token_limit_exceeded", limit=50)
    flush(steps.app, everything=True)
    steps.until_over()
    steps.emulator.fault("line_error", first=1)
    while not steps.journal.tallies.counters().get("answered"):
        flush(steps.app)
        steps.until_over()
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in scrape(steps.app).names}
    assert names == set(metrics)
