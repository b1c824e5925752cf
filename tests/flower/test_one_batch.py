"""The story of one batch: what its page says happened, in which order, and what is to come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchq.errors import NotFound
from batchq.events import BatchChanged, BatchSealed, BatchWoken, Event, LimitReached
from batchq.flower.one_batch import PAGE, BatchPage, Moment, read_batch, timeline
from batchq.flower.overview import Expected
from batchq.journal import BatchRecord
from batchq.prompt import Lane
from tests.apps.base import make_app
from tests.flower.filled import Filled, ask, fill
from tests.harness import Stack
from tests.journals import LANE, capture_many, chat
from tests.test_flow import Steps

SECOND = 1000
T0 = 1_770_000_000_000


def record(**fields: Any) -> BatchRecord:
    known: dict[str, Any] = {"id": "b1", "lane": LANE, "state": "sealed", "lines": 4}
    known |= {"bytes": 900, "tokens": 120, "sealed_at": T0}
    return BatchRecord(**{**known, **fields})


CLOSED = record(
    state="closed",
    status="completed",
    upload_intent_at=T0 + SECOND,
    input_file_id="file-1",
    create_intent_at=T0 + 3 * SECOND,
    submitted_at=T0 + 4 * SECOND,
    provider_id="batch_1",
    finished_at=T0 + 100 * SECOND,
    closed_at=T0 + 101 * SECOND,
    answered=3,
    asked_again=1,
)
THEIRS = {
    "created_at": T0 // 1000 + 3,
    "in_progress_at": T0 // 1000 + 10,
    "finalizing_at": T0 // 1000 + 90,
    "completed_at": T0 // 1000 + 95,
}


def told(
    batch: BatchRecord,
    found: Mapping[str, Any] | None = None,
    *,
    events: Iterable[Event] = (),
    due: timedelta | None = None,
    expected: Expected | None = None,
) -> tuple[Moment, ...]:
    now = T0 + 200 * SECOND
    return timeline(batch, found, events, now=now, due=due, expected=expected)


def when(seconds: int) -> datetime:
    return datetime.fromtimestamp(T0 / 1000 + seconds, tz=UTC)


def words(moments: tuple[Moment, ...]) -> list[str]:
    return [moment.what for moment in moments]


def test_the_story_of_a_batch_that_is_over() -> None:
    moments = told(CLOSED, THEIRS)
    assert words(moments) == [
        *("Sealed", "Upload began", "Uploaded", "Submitted"),
        *("Created", "In progress", "Finalizing", "Completed"),
        *("Over: completed", "Closed"),
    ]
    by_name = {moment.what: moment for moment in moments}
    assert by_name["Uploaded"].since == timedelta(seconds=2)
    assert by_name["Finalizing"].since == timedelta(seconds=80)
    assert by_name["Finalizing"].provider
    assert by_name["Created"].since is None, "two clocks say nothing about less than a minute"
    assert by_name["Closed"].detail == "3 answered, 1 asked again"
    assert not any(moment.ahead for moment in moments)


def test_a_provider_whose_clock_is_wrong_keeps_its_place() -> None:
    """It happened between our create and our last look, whatever its clock says."""
    for shift in (-86_400, 86_400):
        late = {name: at + shift for name, at in THEIRS.items()}
        assert words(told(CLOSED, late)) == words(told(CLOSED, THEIRS))


def test_what_a_provider_writes_may_be_rubbish() -> None:
    rubbish = {
        "created_at": "yesterday",
        "failed_at": None,
        "expired_at": -1,
        "cancelled_at": 1e300,
    }
    assert words(told(CLOSED, rubbish)) == words(told(CLOSED, None))


@given(
    st.dictionaries(
        st.sampled_from([*THEIRS, "failed_at", "expired_at"]),
        st.one_of(st.integers(), st.floats(allow_nan=True), st.text(), st.none()),
    ),
    st.integers(0, 5),
)
def test_no_object_of_a_provider_breaks_the_story(found: dict[str, Any], left: int) -> None:
    moments = told(CLOSED, found)
    assert moments[0].what == "Sealed"
    assert moments[-1].what == "Closed"
    assert all(moment.since is None or moment.since >= timedelta(0) for moment in moments)


def test_what_an_operator_and_rescue_did_is_told() -> None:
    batch = record(
        state="submitted",
        submitted_at=T0,
        cancel_at=T0 + 9 * SECOND,
        missing_since=T0 + 30 * SECOND,
        note="no such batch",
    )
    of: dict[str, Any] = {"batch": "b1", "lane": LANE.name}
    events = [
        BatchChanged(**of, prompts=4, at=when(5), status="in_progress", completed=1),
        BatchWoken(**of, prompts=4, at=when(20), state="submitted"),
        LimitReached(**of, account="default", model="m", at=when(25), reason="throttled"),
        BatchSealed(**of, prompts=4, at=when(0), tokens=1),
    ]
    found = told(batch, events=events)
    assert words(found)[:6] == [
        *("Sealed", "Submitted", "Poll: in progress", "An operator asked for its end"),
        *("Woken by rescue", "Throttled"),
    ]
    moments = {moment.what: moment for moment in found}
    assert moments["Poll: in progress"].detail == "1 completed, 0 failed"
    assert moments["An operator asked for its end"].tone == "warning"
    assert "it was submitted" in moments["Woken by rescue"].detail
    assert moments["Unknown to the provider"].detail == "no such batch"


def test_what_is_to_come() -> None:
    batch = record(state="submitted", submitted_at=T0, expires_at=T0 + 86_400 * SECOND)
    expected = Expected(at=T0 + 300 * SECOND, short="median of 3", why="As three before it.")
    ahead = [
        moment
        for moment in told(batch, due=timedelta(seconds=5), expected=expected)
        if moment.ahead
    ]
    assert [(moment.what, (moment.at or 0) - T0) for moment in ahead] == [
        ("Next poll", 205 * SECOND),
        ("Expected back", 300 * SECOND),
        ("Expires at the provider", 86_400 * SECOND),
    ]
    assert "late" in told(batch, due=timedelta(seconds=-60))[-2].detail
    aside = record(dead_at=T0 + SECOND, note="set aside: 3 steps on it killed their workers")
    moments = told(aside, due=timedelta(hours=1))
    assert words(moments) == ["Sealed", "Set aside", "Given up, unless it is retried before"]


# Read from a journal


@pytest.fixture(scope="module")
def steps(shared_stack: Stack) -> Steps:
    app = make_app("one_batch", batchq_accounts={"default": {"prices": "openai"}})
    return Steps(shared_stack.server, shared_stack.emulator, app)


@pytest.fixture(scope="module")
def filled(steps: Steps) -> Filled:
    return fill(steps)


def read(steps: Steps, batch_id: str, *, page: int = 1) -> BatchPage:
    return read_batch(steps.app, batch_id, page=page)


def test_a_batch_that_is_over_has_counts_errors_and_its_prompts(
    steps: Steps, filled: Filled
) -> None:
    page = read(steps, filled.over)
    numbers = {count.name: count.number for count in page.counts}
    record = page.record
    assert numbers["prompts"] == 12 == len(page.prompts)
    assert numbers["answered"] == record.answered
    assert numbers["asked again"] == 3
    assert record.answered + record.asked_again == 12
    assert [error.code for error in page.errors] == ["rate_limit_exceeded", "invalid_value"]
    assert {prompt.name for error in page.errors for prompt in error.examples} == {
        "shop.tasks.classify",
        "shop.tasks.summarise",
    }
    assert page.task_names == [("shop.tasks.classify", 9), ("shop.tasks.summarise", 3)]
    places = [page.place_of(prompt.call) for prompt in page.prompts if prompt.call]
    assert places.count("answered by another batch") == 3
    assert places.count("answered") == 9
    assert page.row.cost is not None
    assert page.row.cost.batch == record.cost > 0
    assert '"status": "completed"' in page.object
    assert not page.can_retry
    assert "Poll: in progress" in words(page.moments), "the stream of events has told it"
    assert "Poll: completed" not in words(page.moments), "its end is told once"


def test_a_prompt_whose_task_has_ended_is_still_told(steps: Steps, filled: Filled) -> None:
    (prompt,) = [one for one in read(steps, filled.over).prompts if one.task_id == filled.ended]
    assert prompt.done == "SUCCESS"
    assert prompt.call is not None
    assert prompt.call.status_code == 200
    assert prompt.call.cost > 0


def test_a_batch_half_way(steps: Steps, filled: Filled) -> None:
    page = read(steps, filled.running)
    assert page.row.state == "in_progress"
    assert 0 < page.row.done < 1
    assert page.row.may_be_cancelled
    assert (page.pages, len(page.prompts), page.first) == (3, PAGE, 1)
    second = read(steps, filled.running, page=2)
    assert second.first == PAGE + 1
    third = read(steps, filled.running, page=99)
    assert (third.page, len(third.prompts)) == (3, 130 - 2 * PAGE)
    ids = [prompt.id for part in (page, second, third) for prompt in part.prompts]
    assert ids == list(steps.journal.lines.ids(filled.running))
    turnarounds = {page.record.lane: (60 * SECOND,)}
    expected = page.expecting(turnarounds)
    assert "Expected back" in words(expected.moments)
    assert "Expected back" not in words(page.moments)


def test_a_batch_that_is_set_aside(steps: Steps, filled: Filled) -> None:
    page = read(steps, filled.aside)
    assert page.row.state == "set aside"
    assert page.can_retry
    assert page.expecting({page.record.lane: (1000,)}).expected is None


def test_a_file_that_was_refused_names_its_line(steps: Steps, filled: Filled) -> None:
    page = read(steps, filled.refused)
    (error,) = page.errors
    assert error.code == "invalid_json_line"
    assert error.examples[0].call is not None
    assert error.examples[0].call.code == "invalid_json_line"


def test_a_batch_nobody_knows(steps: Steps) -> None:
    with pytest.raises(NotFound):
        read(steps, "nobody")


def test_prompts_of_which_nothing_is_known_any_more(steps: Steps, filled: Filled) -> None:
    lane = Lane(account="default", endpoint="/v1/chat/completions", model="gone")
    asked = capture_many(steps.journal, 3, lane=lane)
    revoked = ask(steps.journal, chat("no"), lane=lane)
    steps.journal.revocations.let_go(revoked, token="t")
    gone, foreign, kept = asked
    steps.server.client.delete(steps.journal.store.task_key(gone.task_id))
    steps.server.client.delete(steps.journal.store.task_key(foreign.task_id))
    steps.server.client.set(steps.journal.store.task_key(foreign.task_id), "somebody else's")
    ids = [one.custom_ids[0] for one in asked]
    found = steps.journal.views.prompts([*ids, f"{revoked}-0"])
    assert [prompt.call is None for prompt in found] == [True, True, False, True]
    assert found[3].done == "REVOKED"
    assert [prompt.id for prompt in found] == [*ids, f"{revoked}-0"]
    assert kept.custom_ids[0] in {prompt.id for prompt in found if prompt.call}
    steps.server.client.delete(steps.journal.store.task_key(foreign.task_id))
