"""What the Batches page decides by itself: states, expected ends, filters, orders."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchq.flower import show
from batchq.flower.overview import (
    COLUMNS,
    BatchRow,
    Choice,
    Snapshot,
    choose,
    expected_end,
    lane_rows,
    state_of,
    turnarounds_of,
)
from batchq.journal import BatchRecord, LaneRecord, Sums
from batchq.overview import Dead, Status
from batchq.prompt import Lane
from batchq.settings.record import Settings

CHAT = Lane(account="default", endpoint="/v1/chat/completions", model="luna")
OTHER = Lane(account="research", endpoint="/v1/responses", model="sol", label="nightly")
MINUTE = 60_000
NOW = 1_000 * MINUTE
SETTINGS = Settings.model_validate({"redis_url": "redis://localhost"})


def record(name: str = "b1", lane: Lane = CHAT, **fields: Any) -> BatchRecord:
    known: dict[str, Any] = {"state": "submitted", "lines": 100, "bytes": 1, "tokens": 500}
    return BatchRecord(id=name, lane=lane, **(known | {"sealed_at": NOW - 30 * MINUTE} | fields))


def closed(name: str, *, took: int = 20, lane: Lane = CHAT, **fields: Any) -> BatchRow:
    known: dict[str, Any] = {
        "state": "closed",
        "status": "completed",
        "completed": 100,
        "submitted_at": NOW - 100 * MINUTE,
        "finished_at": NOW - (100 - took) * MINUTE,
    }
    return BatchRow.of(record(name, lane, **(known | fields)))


def status(**fields: Any) -> Status:
    known: dict[str, Any] = dict.fromkeys(
        ("captured", "waiting", "batched", "answered", "tasks_waiting", "tasks_resuming"), 0
    )
    known |= {"overdue": 0, "dead": 0, "beat_seen": timedelta(0), "stands_in": None}
    return Status(**(known | {"lanes": (), "batches": (), "findings": ()} | fields))


def snapshot(rows: Iterable[BatchRow] = (), **fields: Any) -> Snapshot:
    batches = tuple(rows)
    known: dict[str, Any] = {"now": NOW, "status": status(), "today": Sums(), "lanes": ()}
    turnarounds = turnarounds_of(batches)
    return Snapshot(**(known | {"batches": batches, "turnarounds": turnarounds} | fields))


def chosen(rows: Iterable[BatchRow], **choice: Any) -> list[str]:
    return [row.record.id for row in choose(snapshot(rows), Choice(**choice)).rows]


# States


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"state": "sealed"}, "sealed"),
        ({"state": "uploaded"}, "uploaded"),
        ({"status": ""}, "submitted"),
        ({"status": "in_progress"}, "in_progress"),
        ({"status": "in_progress", "cancel_at": 1}, "cancelling"),
        ({"state": "finished", "status": "completed"}, "fetching"),
        ({"state": "finished", "status": "completed", "dead_at": 1}, "set aside"),
        ({"state": "closed", "status": "expired", "dead_at": 1}, "expired"),
        ({"state": "closed"}, "closed"),
    ],
)
def test_a_batch_is_in_one_state_that_an_operator_knows(fields: dict[str, Any], state: str) -> None:
    assert state_of(record(**fields)) == state


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ({"state": "sealed"}, True),
        ({}, True),
        ({"cancel_at": 1}, False),
        ({"state": "finished"}, False),
        ({"state": "closed"}, False),
    ],
)
def test_only_what_goes_on_can_be_cancelled(fields: dict[str, Any], *, may: bool) -> None:
    assert BatchRow.of(record(**fields)).may_be_cancelled is may


def test_progress_is_never_more_than_all_and_never_of_nothing() -> None:
    assert BatchRow.of(record(completed=190, failed=20)).done == 1.0
    assert BatchRow.of(record(lines=0)).done == 0.0


# The expected end


def test_a_lane_without_history_has_no_expected_end() -> None:
    expected = expected_end(record(submitted_at=NOW), (), NOW)
    assert expected.at == 0
    assert "No batch of this lane has completed yet" in expected.why


def test_the_end_is_the_median_of_the_lanes_own_batches() -> None:
    rows = [closed(f"b{took}", took=took) for took in (50, 10, 20)]
    rows += [closed("other", took=90, lane=OTHER)]
    times = turnarounds_of(rows)[CHAT]
    assert times == (10 * MINUTE, 20 * MINUTE, 50 * MINUTE)
    started = NOW - 5 * MINUTE
    assert expected_end(record(submitted_at=started), times, NOW).at == started + 20 * MINUTE


def test_who_has_waited_longer_than_most_is_compared_with_those_that_took_longer() -> None:
    started = NOW - 25 * MINUTE
    times = (10 * MINUTE, 20 * MINUTE, 50 * MINUTE)
    expected = expected_end(record(submitted_at=started), times, NOW)
    assert expected.at == started + 50 * MINUTE
    late = expected_end(record(submitted_at=NOW - 60 * MINUTE), times, NOW)
    assert late.at == 0
    assert "longer than 3 batches" in late.why


def test_before_it_is_sent_a_batch_has_only_a_length() -> None:
    expected = expected_end(record(state="sealed"), (20 * MINUTE,), NOW)
    assert (expected.at, expected.short) == (0, "20 min once sent")


def test_only_batches_that_completed_are_history() -> None:
    rows = [closed("b1", status="cancelled"), closed("b2", status="expired")]
    assert turnarounds_of(rows) == {}


def test_history_is_the_last_batches_and_not_all() -> None:
    rows = [closed(f"b{n}", took=1 if n < 200 else 99) for n in range(400)]
    assert set(turnarounds_of(rows)[CHAT]) == {MINUTE}


# Filters, orders and pages


ROWS = [
    BatchRow.of(record("open", OTHER, status="in_progress", tasks=json.dumps({"sum": 4}))),
    closed("cheap", cost=5, live_cost=10, tasks=json.dumps({"tag": 3, "say": 1})),
    closed("dear", cost=500, live_cost=600, sealed_at=NOW - 200 * MINUTE, lines=9),
    closed("bad", status="failed", lane=OTHER, provider_id="batch_xyz", lines=50),
]


@pytest.mark.parametrize(
    ("choice", "ids"),
    [
        ({}, {"open", "cheap", "dear", "bad"}),
        ({"state": "open"}, {"open"}),
        ({"state": "completed"}, {"cheap", "dear"}),
        ({"state": "nonsense"}, set()),
        ({"lane": OTHER.name}, {"open", "bad"}),
        ({"account": "default"}, {"cheap", "dear"}),
        ({"task": "say"}, {"cheap"}),
        ({"find": "xyz"}, {"bad"}),
        ({"find": "chea"}, {"cheap"}),
        ({"account": "research", "state": "failed"}, {"bad"}),
    ],
)
def test_batches_are_filtered(choice: dict[str, str], ids: set[str]) -> None:
    assert set(chosen(ROWS, **choice)) == ids


def test_the_states_are_counted_under_the_other_filters() -> None:
    found = choose(snapshot(ROWS), Choice(state="failed", account="research"))
    assert found.states == {"open": 1, "in_progress": 1, "failed": 1}
    assert found.tasks == ("say", "sum", "tag")
    assert found.accounts == ("default", "research")


@pytest.mark.parametrize("column", sorted(COLUMNS))
def test_every_column_sorts_both_ways(column: str) -> None:
    key = COLUMNS[column]
    scene = snapshot(ROWS)
    for sort, sign in ((column, 1), (f"-{column}", -1)):
        rows = choose(scene, Choice(sort=sort)).rows
        keys = [key(scene, row) for row in rows]
        assert keys == sorted(keys, reverse=sign < 0)
        assert len(rows) == len(ROWS)


def test_the_newest_are_first_where_nothing_else_is_said() -> None:
    assert chosen(ROWS)[-1] == "dear"


def test_pages_are_cut_and_there_is_no_page_beyond_the_last() -> None:
    rows = [closed(f"b{n:03}", sealed_at=n) for n in range(120)]
    pages = [choose(snapshot(rows), Choice(sort="-age", page=page)) for page in (1, 3, 99)]
    assert [page.rows[0].record.id for page in pages] == ["b000", "b100", "b100"]
    assert [(page.page, page.pages, page.count) for page in pages[1:]] == [(3, 3, 120)] * 2
    assert choose(snapshot(), Choice()).pages == 1


def test_an_address_says_what_is_chosen_and_nothing_else() -> None:
    given = {"state": "open", "sort": "cost", "page": "3", "task": "a b&c"}
    choice = Choice.of(lambda name: given.get(name, ""))
    assert choice.query(page=3) == given
    assert choice.query() == {"state": "open", "sort": "cost", "task": "a b&c"}, "page 1 again"
    assert Choice().query() == {}


@pytest.mark.parametrize(
    "given",
    [
        {"page": "0"},
        {"page": "²"},
        {"page": "-1"},
        {"page": "9" * 99},
        {"size": "x"},
        {"sort": "id"},
    ],
)
def test_nonsense_in_an_address_is_as_if_it_were_not_there(given: dict[str, str]) -> None:
    choice = Choice.of(lambda name: given.get(name, ""))
    assert (choice.page, choice.size, choice.sort) == (1, 50, "age")
    assert Choice.of(lambda name: "9999" if name == "size" else "").size == 200


# Lanes


def lane(of: Lane = CHAT, **fields: Any) -> LaneRecord:
    known: dict[str, Any] = {"prompts": 3, "bytes": 9, "tokens": 7, "oldest": timedelta(minutes=5)}
    return LaneRecord(lane=of, **(known | fields))


def rows_of(**known: Any) -> Any:
    empty: dict[str, Any] = {
        "waiting": (),
        "held": (),
        "sums": {},
        "batches": (),
        "turnarounds": {},
    }
    return lane_rows(**(empty | known), settings=SETTINGS, now=NOW)


def test_a_lane_says_what_waits_and_when_it_goes() -> None:
    (row,) = rows_of(
        waiting=[lane()], batches=[record(), record("b2")], turnarounds={CHAT: (MINUTE,)}
    )
    assert (row.prompts, row.tokens, row.batches, row.batched) == (3, 7, 2, 200)
    assert row.oldest_at == NOW - 5 * MINUTE
    assert row.due_at == NOW + 10 * MINUTE
    assert "batchq_flush_after" in row.next.why
    assert row.typical == timedelta(minutes=1)


def test_a_lane_is_shown_while_it_is_held_or_has_batches_and_rests_otherwise() -> None:
    rows = rows_of(held=[OTHER], sums={CHAT: Sums(batches=1)})
    assert [(row.lane, row.is_idle, row.held) for row in rows] == [
        (OTHER, False, True),
        (CHAT, True, False),
    ]
    found = choose(snapshot(lanes=tuple(rows)), Choice())
    assert [row.lane for row in found.lane_rows] == [OTHER]
    assert found.resting == 1
    assert len(choose(snapshot(lanes=tuple(rows)), Choice(idle="1")).lane_rows) == 2
    one = choose(snapshot(lanes=tuple(rows)), Choice(lane=CHAT.name))
    assert [row.lane for row in one.lane_rows] == [CHAT]


def test_lanes_are_sorted() -> None:
    rows = tuple(rows_of(waiting=[lane(), lane(OTHER, prompts=9, oldest=timedelta(hours=1))]))
    for sort, first in (("prompts", CHAT), ("-prompts", OTHER), ("oldest", CHAT)):
        found = choose(snapshot(lanes=rows), Choice(lanes=sort))
        assert found.lane_rows[0].lane == first, sort


# Words


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 s"),
        (-5_000, "0 s"),
        (59_400, "59 s"),
        (59_600, "1 min"),
        (61_000, "1 min 1 s"),
        (600_000, "10 min"),
        (629_000, "10 min"),
        (3_600_000, "1 h"),
        (3_660_000, "1 h 1 min"),
        (86_400_000 + 59_000, "1 d"),
        (90_061_000, "1 d 1 h"),
    ],
)
def test_a_length_of_time_has_two_units_at_most(milliseconds: int, text: str) -> None:
    assert show.duration(milliseconds) == text
    assert show.duration(timedelta(milliseconds=milliseconds)) == text


def test_a_command_in_a_sentence_is_code() -> None:
    assert show.marked("`dead` says <why>") == "<code>dead</code> says &lt;why&gt;"


def test_a_moment_is_written_in_utc() -> None:
    at = round(datetime(2026, 3, 1, 12, 30, tzinfo=UTC).timestamp() * 1000)
    assert show.clock(at) == "2026-03-01 12:30:00 UTC"
    assert f'data-since="{at}"' in show.since(at)


def test_an_unpriced_cost_is_not_taken_for_nothing() -> None:
    assert show.cost(Sums(unpriced=3)).shown == "unknown"
    row = closed("b1", cost=10**9, live_cost=2 * 10**9, estimated=1)
    assert row.cost is not None
    assert row.cost.shown_saved == "~$1.00"
    assert BatchRow.of(record()).cost is None


def test_a_dead_one_has_what_a_retry_takes() -> None:
    dead = Dead(id="t", kind="task", name="n", reason="r", at=datetime.now(UTC))
    assert snapshot(dead=(dead,)).dead[0].id == "t"
    assert math.isinf(COLUMNS["end"](snapshot(), BatchRow.of(record())))
