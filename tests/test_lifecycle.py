"""What happens next, decided from what is known: no Redis, no provider, no clock."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from batchq.decide.fetch import never_ran, verdict_on_row
from batchq.decide.flush import is_due
from batchq.decide.poll import (
    Cancel,
    Fetch,
    Wait,
    after_poll,
    files_missing,
    longest_wait,
    pause_between_polls,
)
from batchq.decide.room import limit_to_learn
from batchq.decide.validation import (
    AskAgain,
    BadLine,
    Hopeless,
    NoRoom,
    NotTheirs,
    after_failed_validation,
    parts_to_ask,
    split_budget,
)
from batchq.journal import LaneRecord
from batchq.prompt import Lane
from batchq.provider.descriptions import BatchErrorLine, ProviderBatch, Row
from batchq.settings.config import settings
from batchq.settings.record import Settings

LANE = Lane(account="default", endpoint="/v1/chat/completions", model="gpt-5.6-luna")
HOUR = timedelta(hours=1)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def configured(**options: Any) -> Settings:
    app: Celery[Any] = Celery("lifecycle", set_as_current=False)
    app.conf.update(batchq_redis_url="redis://127.0.0.1:1/0", **options)
    return settings(app)


def test_the_longest_wait_is_the_sum_of_what_is_set() -> None:
    assert longest_wait(configured()) == 3 * (
        timedelta(minutes=15)
        + timedelta(seconds=90)
        + timedelta(hours=27)
        + timedelta(minutes=5)
        + timedelta(minutes=10)
    )
    by_night = longest_wait(configured(batchq_flush_at="02:30", batchq_max_attempts=1))
    assert by_night == timedelta(days=1, hours=27, seconds=90, minutes=15)


@pytest.mark.parametrize(
    ("lines", "of", "part", "sizes"),
    [
        (1, 1, False, [1]),
        (1000, 1000, False, [1000]),
        (1, 1, True, []),
        (1, 2, True, [1]),
        (2, 2, True, [1, 1]),
        (5, 5, True, [3, 2]),
        (0, 2, True, []),
    ],
)
def test_a_refused_file_is_asked_again_as_a_whole_and_then_in_halves(
    *, lines: int, of: int, part: bool, sizes: list[int]
) -> None:
    ids = [f"t-{number}" for number in range(lines)]
    parts = parts_to_ask(ids, of=of, part=part)
    assert [len(one) for one in parts] == sizes
    if parts:
        assert [one for some in parts for one in some] == ids


@pytest.mark.parametrize(("lines", "budget"), [(1, 2), (2, 4), (1000, 22), (50_000, 34)])
def test_the_budget_finds_one_line(lines: int, budget: int) -> None:
    assert split_budget(lines) == budget


# A lane


@pytest.mark.parametrize(
    ("options", "lane", "due"),
    [
        ({}, {"oldest": timedelta(minutes=14)}, False),
        ({}, {"oldest": timedelta(minutes=15)}, True),
        ({}, {"prompts": 9_999}, False),
        ({}, {"prompts": 10_000}, True),
        ({}, {"bytes": 189_999_999}, False),
        ({}, {"bytes": 190_000_000}, True),
        ({"batchq_flush_after": 0}, {}, True),
        ({"batchq_flush_after": 0}, {"prompts": 0}, False),
        ({"batchq_flush_after": None}, {"oldest": timedelta(days=3)}, False),
        ({"batchq_flush_at": "02:30"}, {"oldest": timedelta(days=3)}, False),
        ({"batchq_flush_at": "02:30"}, {"prompts": 10_000}, True),
        ({"batchq_flush_at": "02:30", "batchq_flush_after": 60}, {"oldest": seconds(60)}, True),
        ({"batchq_flush_prompts": 1, "batchq_flush_after": None}, {}, True),
    ],
)
def test_a_lane_is_flushed_when_it_is_full_enough_or_old_enough(
    options: dict[str, Any], lane: dict[str, Any], *, due: bool
) -> None:
    known = {"lane": LANE, "prompts": 1, "bytes": 100, "tokens": 10, "oldest": seconds(0)}
    record = LaneRecord(**{**known, **lane})
    assert is_due(record, configured(**options)) is due


@pytest.mark.parametrize(
    ("oldest", "since", "due"), [(59, 60, False), (60, 60, True), (61, 60, True), (61, None, False)]
)
def test_what_waited_when_everything_was_flushed_is_due_until_it_goes(
    oldest: float, since: float | None, *, due: bool
) -> None:
    """A flush at night found no room for all; what was left waited for the next night."""
    called = None if since is None else seconds(since)
    record = LaneRecord(
        lane=LANE, prompts=1, bytes=100, tokens=10, oldest=seconds(oldest), called=called
    )
    assert is_due(record, configured(batchq_flush_at="02:30")) is due


# A batch that was asked how it is


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
@pytest.mark.parametrize("age", [seconds(0), 30 * HOUR])
def test_a_final_batch_is_fetched(status: str, age: timedelta) -> None:
    assert after_poll(batch(status), age=age, settings=configured()) == Fetch()


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "rebalancing", ""])
def test_a_batch_that_is_not_final_waits_whatever_its_status_is_called(status: str) -> None:
    assert isinstance(after_poll(batch(status), age=HOUR, settings=configured()), Wait)


@pytest.mark.parametrize(
    ("status", "age", "step"),
    [
        ("in_progress", 26 * HOUR - seconds(1), Wait),
        ("in_progress", 26 * HOUR, Cancel),
        ("rebalancing", 26 * HOUR, Cancel),
        ("cancelling", 26 * HOUR, Wait),
        ("cancelling", 27 * HOUR, Fetch),
        ("in_progress", 27 * HOUR, Fetch),
    ],
)
def test_a_batch_past_its_deadline_is_cancelled_and_then_given_up(
    status: str, age: timedelta, step: type
) -> None:
    assert isinstance(after_poll(batch(status), age=age, settings=configured()), step)


@pytest.mark.parametrize(
    ("age", "pause"),
    [(0, 5), (20, 5), (40, 10), (240, 60), (1_200, 300), (86_400, 300)],
)
def test_polls_are_seconds_apart_at_first_and_minutes_later(age: float, pause: float) -> None:
    assert pause_between_polls(seconds(age), configured()) == seconds(pause)


@pytest.mark.parametrize("age", [0, 1, 3, 100, 100_000])
def test_no_pause_is_longer_than_the_setting(age: float) -> None:
    config = configured(batchq_poll_first=2, batchq_poll_longest=2)
    assert pause_between_polls(seconds(age), config) == seconds(2)


@pytest.mark.parametrize(
    ("status", "completed", "failed", "output", "error", "missing"),
    [
        ("completed", 2, 0, "file-o", None, False),
        ("completed", 0, 2, None, "file-e", False),
        ("completed", 1, 1, "file-o", "file-e", False),
        ("completed", 1, 1, "file-o", None, True),
        ("completed", 2, 0, None, None, True),
        ("completed", 0, 0, None, None, True),
        ("completed", 0, 0, "file-o", None, False),
        ("expired", 1, 0, None, None, False),
        ("cancelled", 0, 0, None, None, False),
    ],
)
def test_a_completed_batch_may_not_have_its_files_yet(
    status: str,
    completed: int,
    failed: int,
    output: str | None,
    error: str | None,
    *,
    missing: bool,
) -> None:
    known = batch(
        status, completed=completed, failed=failed, output_file_id=output, error_file_id=error
    )
    assert files_missing(known) is missing


def batch(status: str, **known: Any) -> ProviderBatch:
    return ProviderBatch(id="batch_1", status=status, **known)


# A batch whose file was refused


def complaint(code: str | None, *, line: int | None = None, param: str | None = None) -> Any:
    return BatchErrorLine(code=code, message="A reason.", param=param, line=line)


@pytest.mark.parametrize(
    ("error", "follows"),
    [
        (complaint("invalid_json_line", line=3), BadLine),
        (complaint("streaming_unsupported", line=1, param="body.stream"), BadLine),
        (complaint("invalid_url", line=7, param="url"), BadLine),
        (complaint("model_not_found", line=1, param="body.model"), Hopeless),
        (complaint("model_not_found"), Hopeless),
        (complaint("invalid_request", line=1, param="body.model"), Hopeless),
        (complaint("invalid_request"), AskAgain),
        (complaint("too_many_tasks"), AskAgain),
        (complaint("invalid_request", param="file_id"), NotTheirs),
        (complaint("billing_hard_limit_reached"), NotTheirs),
        (complaint("a_new_code"), NotTheirs),
        (complaint("a_new_code", line=3), BadLine),
        (complaint("a_new_code", param="body.input"), AskAgain),
        (complaint(None), NotTheirs),
        (complaint("token_limit_exceeded"), NoRoom),
    ],
)
def test_an_error_is_of_one_line_or_of_all(error: BatchErrorLine, follows: type) -> None:
    assert isinstance(after_failed_validation([error]), follows)


def test_a_batch_that_failed_without_a_reason_waits_and_is_asked_again_where_others_pass() -> None:
    assert isinstance(after_failed_validation([]), NotTheirs)
    assert isinstance(after_failed_validation([], well=True), AskAgain)
    known = [complaint("insufficient_quota")]
    assert isinstance(after_failed_validation(known, well=True), NotTheirs)


def test_the_line_and_the_provider_s_words_are_kept() -> None:
    follows = after_failed_validation([complaint("invalid_url", line=7, param="url")])
    assert isinstance(follows, BadLine)
    assert follows.line == 7
    assert follows.outcome.status_code == 400
    assert json.loads(follows.outcome.body)["error"] == {
        "message": "A reason.",
        "type": "invalid_request_error",
        "param": "url",
        "code": "invalid_url",
    }


def test_an_unknown_model_is_the_sdk_s_not_found() -> None:
    follows = after_failed_validation([complaint("model_not_found", line=1, param="body.model")])
    assert isinstance(follows, Hopeless)
    assert follows.outcome.status_code == 404


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (
            "Enqueued token limit reached for gpt-4o-mini. Limit: 2,000,000 enqueued tokens.",
            2_000_000,
        ),
        ("Limit: 90000 enqueued tokens.", 90_000),
        ("Too much is queued.", None),
        ("The limit is reached.", None),
    ],
)
def test_the_limit_is_read_from_the_message(message: str, limit: int | None) -> None:
    """openai-python#2084: no other place tells it."""
    error = BatchErrorLine(code="token_limit_exceeded", message=message, param=None, line=None)
    assert after_failed_validation([error]) == NoRoom(limit)


@pytest.mark.parametrize(
    ("limit", "refused", "queued", "learned"),
    [
        (1_000, 5_000, 5_000, 1_000),  # too much at once: what the provider said
        (1_000, 600, 1_200, 1_000),  # too much together with what was queued before
        (1_000, 800, 800, 400),  # by our estimate it fits: the estimate is too low
        (1_000, 10, 10, 62),  # others have queued there: hardly smaller batches help
        (None, 800, 800, 400),
        (None, 1, 1, 1),
        (0, 1, 1, 0),
    ],
)
def test_what_is_learned_from_a_refusal_makes_the_next_batch_smaller(
    limit: int | None, refused: int, queued: int, learned: int
) -> None:
    """A provider that counts more tokens than we do would refuse the same batch for ever."""
    assert limit_to_learn(limit, refused=refused, queued=queued) == learned


# A row of a result file


@pytest.mark.parametrize(
    ("status", "final"),
    [
        (200, True),
        (201, True),
        (400, True),
        (401, True),
        (403, True),
        (404, True),
        (422, True),
        (408, False),
        (409, False),
        (425, False),
        (429, False),
        (500, False),
        (502, False),
        (503, False),
        (504, False),
    ],
)
def test_what_the_sdk_retries_live_is_asked_again(status: int, *, final: bool) -> None:
    row = Row(custom_id="t-0", status_code=status, body={"id": "é"}, request_id="req_1")
    decided, outcome = verdict_on_row(row)
    assert decided is final
    assert (outcome.status_code, outcome.request_id) == (status, "req_1")
    assert outcome.body == '{"id":"é"}'.encode()


@pytest.mark.parametrize(
    ("row", "status", "code"),
    [
        (Row("t-0", None, None), 503, "not_answered"),
        (Row("t-0", None, None, None, "batch_expired", "Too late."), 504, "batch_expired"),
        (Row("t-0", None, None, None, "batch_cancelled", "Stopped."), 503, "batch_cancelled"),
        (Row("t-0", 200, None), 503, "not_answered"),
        (Row("t-0", None, {"id": "x"}), 503, "not_answered"),
    ],
)
def test_a_row_without_an_answer_is_not_final(row: Row, status: int, code: str) -> None:
    final, outcome = verdict_on_row(row)
    assert not final
    assert outcome.status_code == status
    assert json.loads(outcome.body)["error"]["code"] == code


def test_a_prompt_that_never_ran_says_so() -> None:
    error = json.loads(never_ran(None, None).body)["error"]
    assert error["message"] == "The batch ended without an answer to this request."
    assert error["type"] == "server_error"
