"""The Batch API: items 2, 4, 5 and 7 of the checklist."""

import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import openai
import pytest

from batchq.emulator import Emulator, running
from tests.emulator.support import CHAT, HOUR, MODEL, Desk, desk, line, lines

# Create


@pytest.mark.parametrize("name", ["input_file_id", "endpoint", "completion_window"])
def test_a_missing_parameter_is_named(api: Desk, name: str) -> None:
    body = {"input_file_id": "file-1", "endpoint": CHAT, "completion_window": "24h"}
    del body[name]
    with pytest.raises(openai.BadRequestError) as refused:
        api.client.post("/batches", body=body, cast_to=object)
    assert refused.value.body == {
        "message": f"Missing required parameter: '{name}'.",
        "type": "invalid_request_error",
        "param": name,
        "code": "missing_required_parameter",
    }


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/lunch"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": 7}, "input_file_id"),
        ({"lunch": True}, "lunch"),
        ({"metadata": "text"}, "metadata"),
        ({"metadata": {f"key{number}": "v" for number in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: "v"}}, "metadata." + "k" * 64),
        ({"metadata": {"key": "v" * 513}}, "metadata.key"),
        ({"metadata": {"key": 7}}, "metadata.key"),
        ({"output_expires_after": {"anchor": "created_at"}}, "output_expires_after.seconds"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 60}},
            "output_expires_after.seconds",
        ),
    ],
)
def test_a_bad_parameter_is_refused(api: Desk, change: dict[str, Any], param: str) -> None:
    body = {"input_file_id": "file-1", "endpoint": CHAT, "completion_window": "24h"} | change
    with pytest.raises(openai.BadRequestError) as refused:
        api.client.post("/batches", body=body, cast_to=object)
    assert refused.value.param == param


def test_metadata_at_its_limits_is_accepted(api: Desk) -> None:
    metadata = {f"{number:064}": "v" * 512 for number in range(16)}
    batch = api.create(api.upload(lines(1)).id, metadata=metadata)
    assert api.client.batches.retrieve(batch.id).metadata == metadata


def test_a_new_batch_is_validating(slow: Desk) -> None:
    batch = slow.create(slow.upload(lines(1)).id, metadata={"key": "value"})
    assert batch.id.startswith("batch_")
    assert batch.status == "validating"
    assert batch.metadata == {"key": "value"}
    assert batch.expires_at == batch.created_at + 86_400
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 0, "completed": 0, "failed": 0}
    assert (batch.output_file_id, batch.error_file_id, batch.errors) == (None, None, None)


def test_an_unknown_file_shows_only_when_polled(api: Desk) -> None:
    done = api.finish(api.create("file-unknown"))
    assert done.status == "failed"
    assert done.errors is not None
    assert done.errors.data is not None
    assert done.errors.data[0].model_dump(exclude={"message"}) == {
        "code": "invalid_request",
        "param": "file_id",
        "line": None,
    }


@pytest.mark.parametrize("name", ["../emulator.sqlite", "/etc/hostname", "", "file-1/../../lock"])
def test_a_file_id_is_not_a_path(api: Desk, name: str) -> None:
    assert api.finish(api.create(name)).status == "failed"
    assert api.run(lines(1)).status == "completed"


def test_a_file_of_another_purpose_is_as_good_as_unknown(api: Desk) -> None:
    file = api.client.files.create(file=("a.jsonl", b"{}"), purpose="user_data")
    assert api.finish(api.create(file.id)).status == "failed"


def test_there_is_a_limit_of_batches_an_hour() -> None:
    with running(arguments=["--batches-per-hour", "2"]) as emulator:
        api = desk(emulator)
        file = api.upload(lines(1))
        api.create(file.id)
        api.create(file.id)
        with pytest.raises(openai.RateLimitError):
            api.create(file.id)
        emulator.advance(HOUR + 1)
        api.create(file.id)


# Life


def test_a_batch_goes_through_its_states_on_the_clock(slow: Desk) -> None:
    batch = slow.submit(lines(10))
    slow.emulator.advance(HOUR)
    running_batch = slow.reach(batch, "in_progress")
    assert running_batch.in_progress_at
    assert running_batch.model == f"{MODEL}-2026-07-01"
    assert running_batch.request_counts is not None
    assert running_batch.request_counts.total == 10
    assert running_batch.output_file_id is None

    slow.emulator.advance(HOUR)
    finalizing = slow.reach(batch, "finalizing")
    assert finalizing.finalizing_at
    assert finalizing.output_file_id is None

    slow.emulator.advance(HOUR)
    done = slow.reach(batch, "completed")
    assert done.completed_at
    assert len(slow.ids(done.output_file_id)) == 10


def test_counts_climb_while_in_progress(slow: Desk) -> None:
    batch = slow.submit(lines(12))
    slow.emulator.advance(HOUR)
    slow.reach(batch, "in_progress")
    seen: list[int] = []
    for _ in range(3):
        slow.emulator.advance(HOUR / 4)
        counts = slow.client.batches.retrieve(batch.id).request_counts
        assert counts is not None
        assert counts.total == 12
        seen.append(counts.completed)
    assert seen == sorted(seen)
    assert seen[-1] < 12


def test_a_batch_answers_every_line(api: Desk) -> None:
    done = api.run(lines(100))
    assert done.status == "completed"
    assert done.error_file_id is None
    assert sorted(api.ids(done.output_file_id)) == sorted(f"line-{n}" for n in range(100))
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 100, "completed": 100, "failed": 0}
    row = api.rows(done.output_file_id)[0]
    assert row["id"].startswith("batch_req_")
    assert row["error"] is None
    assert row["response"]["status_code"] == 200
    assert row["response"]["request_id"]
    assert row["response"]["body"]["object"] == "chat.completion"


def test_usage_is_the_sum_of_the_rows(api: Desk) -> None:
    done = api.run(lines(7))
    usages = [row["response"]["body"]["usage"] for row in api.rows(done.output_file_id)]
    assert done.usage is not None
    assert done.usage.input_tokens == sum(usage["prompt_tokens"] for usage in usages)
    assert done.usage.output_tokens == sum(usage["completion_tokens"] for usage in usages)
    assert done.usage.input_tokens_details.cached_tokens == 0


def test_a_refused_line_is_in_the_error_file(api: Desk) -> None:
    bad = line("bad", {"model": MODEL, "messages": [], "temperature": 1})
    hot = line("hot", {"model": MODEL, "messages": [{"role": "user", "content": "x"}]})
    hot["body"]["temperature"] = 5
    done = api.run([line("good"), bad, hot])
    assert done.status == "completed"
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 3, "completed": 1, "failed": 2}
    assert api.ids(done.output_file_id) == ["good"]
    failed = {row["custom_id"]: row for row in api.rows(done.error_file_id)}
    assert failed["hot"]["error"] is None
    assert failed["hot"]["response"]["status_code"] == 400
    error = failed["hot"]["response"]["body"]["error"]
    assert error["message"].startswith("Invalid 'temperature'")
    assert error["param"] == "temperature"


def test_rows_are_not_in_the_order_of_the_lines(api: Desk) -> None:
    done = api.run(lines(50))
    ids = api.ids(done.output_file_id)
    assert ids != [f"line-{number}" for number in range(50)]
    assert api.emulator.fired("shuffled") == 1
    api.emulator.lift("shuffled")
    again = api.run(lines(50))
    assert api.ids(again.output_file_id) == [f"line-{number}" for number in range(50)]


def test_a_batch_expires_at_the_end_of_its_window() -> None:
    with running(window=100.0, run_seconds=200.0) as emulator:
        api = desk(emulator)
        batch = api.submit(lines(10))
        api.reach(batch, "in_progress")
        emulator.advance(101)
        done = api.finish(batch)
        assert done.status == "expired"
        assert done.expired_at
        answered = api.ids(done.output_file_id)
        assert 4 <= len(answered) <= 5
        unrun = api.rows(done.error_file_id)
        assert {row["error"]["code"] for row in unrun} == {"batch_expired"}
        assert all(row["response"] is None for row in unrun)
        assert len(unrun) + len(answered) == 10
        assert done.request_counts is not None
        assert done.request_counts.failed == 0
        assert set(api.billed()) == set(answered)


# Cancel


def test_a_cancelled_batch_keeps_what_has_run(slow: Desk) -> None:
    batch = slow.submit(lines(10))
    slow.emulator.advance(HOUR)
    slow.reach(batch, "in_progress")
    slow.emulator.advance(HOUR / 2)
    slow.client.batches.retrieve(batch.id)
    cancelling = slow.client.batches.cancel(batch.id)
    assert cancelling.status == "cancelling"
    assert cancelling.cancelling_at
    assert slow.client.batches.cancel(batch.id).status == "cancelling"
    slow.emulator.advance(HOUR)
    done = slow.reach(batch, "cancelled")
    assert done.cancelled_at
    unrun = slow.rows(done.error_file_id)
    assert {row["error"]["code"] for row in unrun} == {"batch_cancelled"}
    assert sorted(slow.ids(done.output_file_id) + slow.ids(done.error_file_id)) == sorted(
        f"line-{number}" for number in range(10)
    )


def test_a_batch_cancelled_while_validating_has_no_files(slow: Desk) -> None:
    batch = slow.submit(lines(3))
    slow.client.batches.cancel(batch.id)
    slow.emulator.advance(HOUR)
    done = slow.reach(batch, "cancelled")
    assert (done.output_file_id, done.error_file_id) == (None, None)
    assert slow.billed() == {}


def test_a_finished_batch_cannot_be_cancelled(api: Desk) -> None:
    done = api.run(lines(1))
    with pytest.raises(openai.ConflictError, match="'completed'"):
        api.client.batches.cancel(done.id)


# List


def test_batches_are_listed_newest_first_and_in_pages(api: Desk) -> None:
    file = api.upload(lines(1))
    ids = [api.create(file.id).id for _ in range(5)]
    page = api.client.batches.list(limit=2)
    assert [batch.id for batch in page.data] == [ids[4], ids[3]]
    assert page.has_more
    assert [batch.id for batch in api.client.batches.list(limit=2)] == ids[::-1]
    assert [batch.id for batch in api.client.batches.list(after=ids[2])] == [ids[1], ids[0]]


@pytest.mark.parametrize("limit", [0, 101])
def test_a_page_has_bounds(api: Desk, limit: int) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        api.client.batches.list(limit=limit)
    assert refused.value.param == "limit"


def test_a_page_has_20_batches_where_nobody_says_more(api: Desk) -> None:
    file = api.upload(lines(1))
    for _ in range(21):
        api.create(file.id)
    assert len(api.client.batches.list().data) == 20


def test_an_unknown_batch_is_not_found(api: Desk) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        api.client.batches.retrieve("batch_unknown")
    assert missing.value.body == {
        "message": "No batch found with id 'batch_unknown'.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


# Keys


def test_a_call_without_a_key_is_refused(emulator: Emulator) -> None:
    with closing(HTTPConnection(emulator.root.removeprefix("http://"))) as connection:
        connection.request("GET", "/v1/batches")
        answer = connection.getresponse()
        assert answer.status == 401
        assert answer.headers["x-request-id"]
        error = json.load(answer)["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


def test_a_wrong_key_is_refused() -> None:
    with running(arguments=["--api-key", "sk-right"]) as emulator:
        with pytest.raises(openai.AuthenticationError) as refused:
            desk(emulator, api_key="sk-wrong").client.batches.list()
        assert refused.value.code == "invalid_api_key"
        assert refused.value.type == "invalid_request_error"
        assert refused.value.request_id
        assert desk(emulator, api_key="sk-right").client.batches.list().data == []


def test_keys_can_be_accounts_of_their_own() -> None:
    with running(arguments=["--key-per-account"]) as emulator:
        mine, theirs = desk(emulator, api_key="mine"), desk(emulator, api_key="theirs")
        batch = mine.run(lines(1))
        assert theirs.client.batches.list().data == []
        with pytest.raises(openai.NotFoundError):
            theirs.client.batches.retrieve(batch.id)
        with pytest.raises(openai.NotFoundError):
            theirs.client.files.content(batch.output_file_id or "")
        assert theirs.finish(theirs.create(batch.input_file_id)).status == "failed"


def test_every_answer_has_a_request_id(api: Desk) -> None:
    answer = api.client.batches.with_raw_response.list()
    assert answer.request_id
    with pytest.raises(openai.NotFoundError) as missing:
        api.client.get("/lunch", cast_to=object)
    assert missing.value.request_id
