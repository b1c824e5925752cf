"""Every fault of the catalogue, by name: what a client sees, and that it is counted."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from batchq.emulator import running
from batchq.emulator.catalogue import CATALOGUE
from tests.emulator.support import HOUR, Desk, desk, line, lines, wait_until
from tests.emulator.test_webhooks import listening
from tests.webhooks import SECRET


def test_every_fault_has_its_test() -> None:
    tested = {name.removeprefix("test_").split("__")[0] for name in globals()}
    assert set(CATALOGUE) <= tested


def _sums_up(api: Desk, done: openai.types.Batch) -> list[str]:
    return sorted(api.ids(done.output_file_id) + api.ids(done.error_file_id))


# Calls


def test_upload_500(api: Desk) -> None:
    api.emulator.fault("upload_500")
    with pytest.raises(openai.InternalServerError):
        api.upload(lines(1))
    assert api.client.files.list().data == []
    assert api.emulator.fired("upload_500") == 1
    api.upload(lines(1))


def test_upload_drop_before(api: Desk) -> None:
    api.emulator.fault("upload_drop_before")
    with pytest.raises(openai.APIConnectionError):
        api.upload(lines(1))
    assert api.client.files.list().data == []
    assert api.emulator.fired("upload_drop_before") == 1


def test_upload_drop_after(api: Desk) -> None:
    api.emulator.fault("upload_drop_after")
    with pytest.raises(openai.APIConnectionError):
        api.upload(lines(1))
    assert len(api.client.files.list().data) == 1
    assert api.emulator.fired("upload_drop_after") == 1


def test_create_400_file_not_found(api: Desk) -> None:
    api.emulator.fault("create_400_file_not_found")
    file = api.upload(lines(1))
    with pytest.raises(openai.BadRequestError, match=f"Cannot find file {file.id}") as refused:
        api.create(file.id)
    assert refused.value.param == "file_id"
    assert api.emulator.fired("create_400_file_not_found") == 1
    assert api.finish(api.create(file.id)).status == "completed"


@pytest.mark.parametrize("retry_after", [7, None])
def test_create_429(api: Desk, retry_after: int | None) -> None:
    api.emulator.fault("create_429", retry_after=retry_after)
    with pytest.raises(openai.RateLimitError) as limited:
        api.create("file-1")
    assert limited.value.response.headers.get("retry-after") == (retry_after and str(retry_after))
    assert api.emulator.fired("create_429") == 1


def test_create_500(api: Desk) -> None:
    api.emulator.fault("create_500")
    with pytest.raises(openai.InternalServerError):
        api.create("file-1")
    assert api.client.batches.list().data == []
    assert api.emulator.fired("create_500") == 1


def test_create_drop_before(api: Desk) -> None:
    api.emulator.fault("create_drop_before")
    with pytest.raises(openai.APIConnectionError):
        api.create("file-1")
    assert api.client.batches.list().data == []
    assert api.emulator.fired("create_drop_before") == 1


def test_create_drop_after(api: Desk) -> None:
    api.emulator.fault("create_drop_after")
    with pytest.raises(openai.APIConnectionError):
        api.create(api.upload(lines(1)).id, metadata={"key": "mine"})
    (batch,) = api.client.batches.list().data
    assert batch.metadata == {"key": "mine"}
    assert api.finish(batch).status == "completed"
    assert api.emulator.fired("create_drop_after") == 1


def test_create_slow_after(api: Desk) -> None:
    api.emulator.fault("create_slow_after", seconds=1)
    hasty = desk(api.emulator, timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        hasty.create("file-1")
    assert len(api.client.batches.list().data) == 1
    assert api.emulator.fired("create_slow_after") == 1


def test_create_drop_after__makes_duplicates_of_the_sdks_own_retries(api: Desk) -> None:
    """The SDK repeats a create whose answer was lost: this is what a client has to prevent."""
    api.emulator.fault("create_drop_after", times=2)
    careless = api.client.with_options(max_retries=2)
    careless.batches.create(
        input_file_id="file-1", endpoint="/v1/responses", completion_window="24h"
    )
    assert len(api.client.batches.list().data) == 3


def test_retrieve_404(api: Desk) -> None:
    batch = api.submit(lines(1))
    api.emulator.fault("retrieve_404")
    with pytest.raises(openai.NotFoundError, match="No batch found"):
        api.client.batches.retrieve(batch.id)
    assert api.client.batches.retrieve(batch.id).id == batch.id
    assert api.emulator.fired("retrieve_404") == 1


def test_retrieve_500(api: Desk) -> None:
    batch = api.submit(lines(1))
    api.emulator.fault("retrieve_500", times=3)
    for _ in range(3):
        with pytest.raises(openai.InternalServerError):
            api.client.batches.retrieve(batch.id)
    api.client.batches.retrieve(batch.id)
    assert api.emulator.fired("retrieve_500") == 3


def test_list_500(api: Desk) -> None:
    api.emulator.fault("list_500")
    with pytest.raises(openai.InternalServerError):
        api.client.batches.list()
    assert api.client.batches.list().data == []
    assert api.emulator.fired("list_500") == 1


def test_cancel_500(slow: Desk) -> None:
    batch = slow.submit(lines(1))
    slow.emulator.fault("cancel_500")
    with pytest.raises(openai.InternalServerError):
        slow.client.batches.cancel(batch.id)
    assert slow.client.batches.retrieve(batch.id).status == "validating"
    assert slow.emulator.fired("cancel_500") == 1


def test_content_502(api: Desk) -> None:
    file = api.upload(b"hello")
    api.emulator.fault("content_502")
    with pytest.raises(openai.InternalServerError) as failed:
        api.raw(file.id)
    assert failed.value.status_code == 502
    assert "text/html" in failed.value.response.headers["content-type"]
    assert api.raw(file.id) == b"hello"
    assert api.emulator.fired("content_502") == 1


def test_content_404_once(api: Desk) -> None:
    file = api.upload(b"hello")
    api.emulator.fault("content_404_once")
    with pytest.raises(openai.NotFoundError):
        api.raw(file.id)
    assert api.raw(file.id) == b"hello"
    assert api.emulator.fired("content_404_once") == 1


@pytest.mark.parametrize("share", [0, 0.5, 0.999999])
def test_content_cut(api: Desk, share: float) -> None:
    file = api.upload(b"x" * 3_000_000)
    api.emulator.fault("content_cut", at=share)
    read = 0

    def download() -> None:
        nonlocal read
        with api.client.files.with_streaming_response.content(file.id) as answer:
            for chunk in answer.iter_bytes():
                read += len(chunk)

    with pytest.raises(httpx2.RemoteProtocolError):
        download()
    assert read <= 3_000_000 * share
    assert api.emulator.fired("content_cut") == 1


def test_content_garbled(api: Desk) -> None:
    file = api.upload(b"hello, world")
    api.emulator.fault("content_garbled")
    garbled = api.raw(file.id)
    assert len(garbled) == 12
    assert garbled != b"hello, world"
    assert api.raw(file.id) == b"hello, world"


def test_live_429(api: Desk) -> None:
    api.emulator.fault("live_429", retry_after=9)
    with pytest.raises(openai.RateLimitError) as limited:
        _ask(api)
    assert limited.value.response.headers["retry-after"] == "9"
    _ask(api)
    assert api.emulator.fired("live_429") == 1


def test_live_500(api: Desk) -> None:
    api.emulator.fault("live_500")
    with pytest.raises(openai.InternalServerError):
        _ask(api)
    assert api.emulator.ledger()["totals"]["live"]["ok"] == 0
    assert api.emulator.fired("live_500") == 1


def _ask(api: Desk) -> None:
    api.client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": "hello"}]
    )


@pytest.mark.parametrize("status", [400, 401, 403, 408, 409, 429, 500, 503])
@pytest.mark.parametrize("call", ["upload", "create", "retrieve", "list", "content", "cancel"])
def test_call_error(api: Desk, call: str, status: int) -> None:
    file = api.upload(lines(1))
    batch = api.create(file.id)
    calls: dict[str, Callable[[], object]] = {
        "upload": lambda: api.upload(lines(1)),
        "create": lambda: api.create(file.id),
        "retrieve": lambda: api.client.batches.retrieve(batch.id),
        "list": api.client.batches.list,
        "content": lambda: api.raw(file.id),
        "cancel": lambda: api.client.batches.cancel(batch.id),
    }
    api.emulator.fault("call_error", call=call, status=status, retry_after=4000)
    api.client.models.list()  # another call is spared
    with pytest.raises(openai.APIStatusError) as failed:
        calls[call]()
    assert failed.value.status_code == status
    assert failed.value.response.headers["retry-after"] == "4000"
    assert api.emulator.fired("call_error") == 1


def test_call_drop_before(slow: Desk) -> None:
    batch = slow.submit(lines(1))
    slow.emulator.fault("call_drop_before", call="cancel")
    with pytest.raises(openai.APIConnectionError):
        slow.client.batches.cancel(batch.id)
    assert slow.client.batches.retrieve(batch.id).status == "validating"
    assert slow.emulator.fired("call_drop_before") == 1


def test_call_drop_after(slow: Desk) -> None:
    batch = slow.submit(lines(1))
    slow.emulator.fault("call_drop_after", call="cancel")
    with pytest.raises(openai.APIConnectionError):
        slow.client.batches.cancel(batch.id)
    assert slow.client.batches.retrieve(batch.id).status == "cancelling"
    assert slow.emulator.fired("call_drop_after") == 1


def test_call_slow_after(api: Desk) -> None:
    api.emulator.fault("call_slow_after", call="upload", seconds=1)
    with pytest.raises(openai.APITimeoutError):
        desk(api.emulator, timeout=0.2).upload(lines(1))
    assert len(api.client.files.list().data) == 1
    assert api.emulator.fired("call_slow_after") == 1


def test_html_instead_of_json(api: Desk) -> None:
    api.emulator.fault("html_instead_of_json", call="list")
    answer = api.client.batches.with_raw_response.list()
    assert answer.http_response.status_code == 200
    assert answer.text.startswith("<!DOCTYPE html>")
    assert api.emulator.fired("html_instead_of_json") == 1


def test_unauthorized(api: Desk) -> None:
    api.emulator.fault("unauthorized")
    with pytest.raises(openai.AuthenticationError):
        api.client.batches.list()
    api.client.batches.list()
    assert api.emulator.fired("unauthorized") == 1


def test_slow(api: Desk) -> None:
    api.emulator.fault("slow", call="list", seconds=5)
    with pytest.raises(openai.APITimeoutError):
        desk(api.emulator, timeout=0.2).client.batches.list()
    assert api.emulator.fired("slow") == 1


# The life of a batch


def _error(batch: openai.types.Batch) -> dict[str, Any]:
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    return batch.errors.data[0].model_dump()


def test_model_not_found(api: Desk) -> None:
    api.emulator.fault("model_not_found")
    error = _error(api.run(lines(2)))
    assert (error["code"], error["param"], error["line"]) == ("model_not_found", "body.model", 1)
    assert api.emulator.fired("model_not_found") == 1
    assert api.run(lines(2)).status == "completed"


def test_token_limit_exceeded(api: Desk) -> None:
    api.emulator.fault("token_limit_exceeded", limit=90_000)
    error = _error(api.run(lines(2)))
    assert error["code"] == "token_limit_exceeded"
    assert "Limit: 90,000 enqueued tokens" in error["message"]
    assert api.emulator.fired("token_limit_exceeded") == 1


def test_invalid_line(api: Desk) -> None:
    api.emulator.fault("invalid_line", line=3)
    error = _error(api.run(lines(5)))
    assert (error["code"], error["line"]) == ("invalid_json_line", 3)
    assert api.emulator.fired("invalid_line") == 1


def test_invalid_line__without_its_number(api: Desk) -> None:
    api.emulator.fault("invalid_line", custom_id="line-2", numbered=False)
    for _ in range(2):
        error = _error(api.run(lines(5)))
        assert (error["code"], error["line"]) == ("invalid_json_line", None)
    assert api.run(lines(2)).status == "completed", "as long as the marked line is in the file"


def test_invalid_line__waits_for_its_line(api: Desk) -> None:
    """A fault for a certain custom_id is not used up by batches without it, and lasts."""
    api.emulator.fault("invalid_line", custom_id="line-4", code="invalid_request")
    assert api.run(lines(3)).status == "completed"
    assert _error(api.run(lines(5)))["line"] == 5
    assert _error(api.run([line("line-4")]))["code"] == "invalid_request"
    assert api.emulator.fired("invalid_line") == 2


def test_stuck_validating(api: Desk) -> None:
    api.emulator.fault("stuck_validating")
    batch = api.submit(lines(1))
    wait_until(lambda: api.emulator.fired("stuck_validating"), description="it is stuck")
    api.emulator.advance(26 * HOUR)
    assert api.client.batches.retrieve(batch.id).status == "validating"
    api.emulator.lift("stuck_validating")
    api.reach(batch, "completed")


def test_stuck_in_progress(api: Desk) -> None:
    api.emulator.fault("stuck_in_progress", at=0.5)
    batch = api.submit(lines(4))
    wait_until(lambda: api.emulator.fired("stuck_in_progress"), description="it is stuck")
    api.emulator.advance(26 * HOUR)
    stuck = api.client.batches.retrieve(batch.id)
    assert stuck.status == "in_progress"
    assert stuck.request_counts is not None
    assert stuck.request_counts.completed == 2
    done = api.finish(api.client.batches.cancel(batch.id))
    assert done.status == "cancelled"
    assert len(api.ids(done.output_file_id)) == 2


def test_stuck_finalizing(api: Desk) -> None:
    api.emulator.fault("stuck_finalizing")
    batch = api.submit(lines(1))
    wait_until(lambda: api.emulator.fired("stuck_finalizing"), description="it is stuck")
    api.emulator.advance(26 * HOUR)
    assert api.client.batches.retrieve(batch.id).status == "finalizing"
    api.emulator.clear()
    assert api.reach(batch, "completed").output_file_id


def test_slow_cancelling(slow: Desk) -> None:
    slow.emulator.fault("slow_cancelling", seconds=10 * HOUR)
    batch = slow.submit(lines(1))
    slow.client.batches.cancel(batch.id)
    slow.emulator.advance(9 * HOUR)
    assert slow.client.batches.retrieve(batch.id).status == "cancelling"
    slow.emulator.advance(HOUR)
    slow.reach(batch, "cancelled")
    assert slow.emulator.fired("slow_cancelling") == 1


def test_unknown_status(api: Desk) -> None:
    api.emulator.fault("unknown_status", polls=2, status="thinking")
    batch = api.submit(lines(1))
    seen: list[str] = [api.client.batches.retrieve(batch.id).status for _ in range(3)]
    assert seen[:2] == ["thinking", "thinking"]
    assert seen[2] != "thinking"
    assert api.emulator.fired("unknown_status") == 1


def test_uppercase_status(slow: Desk) -> None:
    slow.emulator.fault("uppercase_status")
    batch = slow.submit(lines(1))
    assert str(batch.status) == "VALIDATING"
    assert str(slow.client.batches.cancel(batch.id).status) == "CANCELING"
    assert slow.emulator.fired("uppercase_status") == 1


def test_null_counts(api: Desk) -> None:
    api.emulator.fault("null_counts")
    done = api.run(lines(1))
    counts: Any = done.request_counts
    assert (counts.total, counts.completed, counts.failed) == (None, None, None)
    assert api.emulator.fired("null_counts") == 1


def test_batch_404(api: Desk) -> None:
    api.emulator.fault("batch_404")
    batch = api.submit(lines(1))

    def gone() -> bool:
        try:
            api.client.batches.retrieve(batch.id)
        except openai.NotFoundError:
            return True
        return False

    wait_until(gone, description="the batch has vanished")
    assert api.client.batches.list().data == []
    assert api.billed() == {}
    assert api.emulator.fired("batch_404") == 1


def test_partial_expiry(api: Desk) -> None:
    api.emulator.fault("partial_expiry", at=0.3)
    done = api.run(lines(10))
    assert done.status == "expired"
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 10, "completed": 3, "failed": 0}
    assert len(api.ids(done.output_file_id)) == 3
    unrun = api.rows(done.error_file_id)
    assert {row["error"]["code"] for row in unrun} == {"batch_expired"}
    assert len(unrun) == 7
    assert len(api.billed()) == 3
    assert api.emulator.fired("partial_expiry") == 1


@pytest.mark.parametrize("partial", [True, False])
def test_cancel_midway(api: Desk, partial: bool) -> None:  # noqa: FBT001
    api.emulator.fault("cancel_midway", at=0.5, partial=partial)
    done = api.run(lines(10))
    assert done.status == "cancelled"
    assert len(api.ids(done.output_file_id)) == (5 if partial else 0)
    assert len(api.ids(done.error_file_id)) == (5 if partial else 10)
    assert len(api.billed()) == 5
    assert api.emulator.fired("cancel_midway") == 1


def test_cancel_resets_counts(api: Desk) -> None:
    """As captured of OpenAI: 5 lines, 1 done, cancelled with counts of 0 and 5 error rows."""
    api.emulator.fault("cancel_resets_counts")
    api.emulator.fault("cancel_midway", at=0.2)
    done = api.run(lines(5))
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 5, "completed": 0, "failed": 0}
    assert done.output_file_id is None
    rows = api.rows(done.error_file_id)
    assert {row["error"]["code"] for row in rows} == {"batch_cancelled"}
    assert len(rows) == 5
    assert api.emulator.fired("cancel_resets_counts") == 1


# Lines


def test_all_lines_fail(api: Desk) -> None:
    api.emulator.fault("all_lines_fail", status=400, code="unsupported_image")
    done = api.run(lines(9))
    assert done.status == "completed"
    assert done.output_file_id is None
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 9, "completed": 0, "failed": 9}
    rows = api.rows(done.error_file_id)
    assert {row["response"]["body"]["error"]["code"] for row in rows} == {"unsupported_image"}
    assert api.billed() == dict.fromkeys((f"line-{number}" for number in range(9)), 0)
    assert api.emulator.fired("all_lines_fail") == 1


@pytest.mark.parametrize(
    ("selection", "picked"),
    [
        ({}, ["line-0"]),
        ({"first": 3}, ["line-0", "line-1", "line-2"]),
        ({"every": 4}, ["line-0", "line-4", "line-8"]),
        ({"custom_id": "line-7"}, ["line-7"]),
        ({"custom_id": ["line-1", "line-7"]}, ["line-1", "line-7"]),
        ({"containing": "about line-5"}, ["line-5"]),
    ],
)
def test_line_error(api: Desk, selection: dict[str, Any], picked: list[str]) -> None:
    api.emulator.fault("line_error", status=403, code="nope", message="No.", **selection)
    done = api.run(lines(10))
    failed = {row["custom_id"]: row["response"] for row in api.rows(done.error_file_id)}
    assert sorted(failed) == picked
    assert all(response["status_code"] == 403 for response in failed.values())
    assert failed[picked[0]]["body"]["error"] == {
        "message": "No.",
        "type": "invalid_request_error",
        "param": None,
        "code": "nope",
    }
    assert _sums_up(api, done) == sorted(f"line-{number}" for number in range(10))
    assert api.emulator.fired("line_error") == 1


def _rows_fail(api: Desk, status: int) -> None:
    name = f"rows_{status}"
    api.emulator.fault(name, first=2)
    done = api.run(lines(5))
    rows = api.rows(done.error_file_id)
    assert [row["response"]["status_code"] for row in rows] == [status, status]
    assert all(row["response"]["body"]["error"]["message"] for row in rows)
    assert sum(api.billed().values()) == 3
    assert api.emulator.fired(name) == 1


def test_rows_429(api: Desk) -> None:
    _rows_fail(api, 429)


def test_rows_500(api: Desk) -> None:
    _rows_fail(api, 500)


def test_rows_503(api: Desk) -> None:
    _rows_fail(api, 503)


def test_status_code_zero(api: Desk) -> None:
    api.emulator.fault("status_code_zero")
    done = api.run(lines(3))
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 3, "completed": 3, "failed": 0}
    zero = [row for row in api.rows(done.output_file_id) if row["custom_id"] == "line-0"]
    assert zero[0]["response"] == {"status_code": 0, "request_id": "", "body": None}
    assert api.billed()["line-0"] == 0
    assert api.emulator.fired("status_code_zero") == 1


def test_null_response(api: Desk) -> None:
    api.emulator.fault("null_response")
    done = api.run(lines(3))
    odd = [row for row in api.rows(done.output_file_id) if row["custom_id"] == "line-0"]
    assert (odd[0]["response"], odd[0]["error"]) == (None, None)
    assert api.emulator.fired("null_response") == 1


def test_missing_rows(api: Desk) -> None:
    api.emulator.fault("missing_rows", first=2)
    done = api.run(lines(5))
    assert done.status == "completed"
    assert _sums_up(api, done) == ["line-2", "line-3", "line-4"]
    assert api.billed()["line-0"] == 1
    assert api.emulator.fired("missing_rows") == 1


def test_duplicate_rows(api: Desk) -> None:
    api.emulator.fault("duplicate_rows")
    done = api.run(lines(2))
    assert _sums_up(api, done) == ["line-0", "line-0", "line-1"]
    assert api.billed()["line-0"] == 1
    assert api.emulator.fired("duplicate_rows") == 1


def test_conflicting_duplicate(api: Desk) -> None:
    api.emulator.fault("conflicting_duplicate")
    done = api.run(lines(2))
    assert sorted(api.ids(done.output_file_id)) == ["line-0", "line-1"]
    (other,) = api.rows(done.error_file_id)
    assert other["custom_id"] == "line-0"
    assert other["response"]["status_code"] == 500
    assert api.emulator.fired("conflicting_duplicate") == 1


def test_conflicting_duplicate_in_one_file(api: Desk) -> None:
    api.emulator.fault("conflicting_duplicate", status=400, in_output=True)
    done = api.run(lines(2))
    assert done.error_file_id is None
    assert sorted(api.ids(done.output_file_id)) == ["line-0", "line-0", "line-1"]
    rows = [row for row in api.rows(done.output_file_id) if row["custom_id"] == "line-0"]
    assert sorted(row["response"]["status_code"] for row in rows) == [200, 400]


def test_corrupt_row(api: Desk) -> None:
    api.emulator.fault("corrupt_row")
    done = api.run(lines(3))
    bad = 0
    for row in api.raw(done.output_file_id).split(b"\n")[:-1]:
        try:
            json.loads(row)
        except ValueError:
            bad += 1
    assert bad == 1
    assert api.emulator.fired("corrupt_row") == 1


def test_huge_row(api: Desk) -> None:
    api.emulator.fault("huge_row", bytes=5_000_000)
    done = api.run(lines(2))
    sizes = sorted(len(row) + 1 for row in api.raw(done.output_file_id).splitlines())
    assert sizes[1] == 5_000_000
    assert sorted(api.ids(done.output_file_id)) == ["line-0", "line-1"]
    assert api.emulator.fired("huge_row") == 1


def test_unknown_custom_id(api: Desk) -> None:
    api.emulator.fault("unknown_custom_id", custom_id="stranger")
    done = api.run(lines(2))
    assert sorted(api.ids(done.output_file_id)) == ["line-0", "line-1", "stranger"]
    assert api.emulator.fired("unknown_custom_id") == 1


# Result files


def test_truncated_last_line(api: Desk) -> None:
    api.emulator.fault("truncated_last_line")
    done = api.run(lines(3))
    *whole, last = api.raw(done.output_file_id).split(b"\n")
    assert len(whole) == 2
    with pytest.raises(json.JSONDecodeError):
        json.loads(last)
    assert api.emulator.fired("truncated_last_line") == 1


def test_no_trailing_newline(api: Desk) -> None:
    api.emulator.fault("no_trailing_newline")
    done = api.run(lines(3))
    assert not api.raw(done.output_file_id).endswith(b"\n")
    assert len(api.rows(done.output_file_id)) == 3
    assert api.emulator.fired("no_trailing_newline") == 1


def test_blank_lines(api: Desk) -> None:
    api.emulator.fault("blank_lines")
    done = api.run(lines(3))
    content = api.raw(done.output_file_id)
    assert content.endswith(b"\n\n")
    assert len([row for row in content.splitlines() if row]) == 3
    assert content.count(b"\n\n") > 1
    assert api.emulator.fired("blank_lines") == 1


def test_completed_before_files(api: Desk) -> None:
    api.emulator.fault("completed_before_files", seconds=600)
    done = api.run(lines(1))
    assert done.status == "completed"
    assert (done.output_file_id, done.error_file_id) == (None, None)
    api.emulator.advance(601)
    assert api.client.batches.retrieve(done.id).output_file_id
    assert api.emulator.fired("completed_before_files") == 1


def test_missing_output_file_id(api: Desk) -> None:
    api.emulator.fault("missing_output_file_id")
    done = api.run(lines(1))
    api.emulator.advance(26 * HOUR)
    assert api.client.batches.retrieve(done.id).output_file_id is None
    assert api.emulator.fired("missing_output_file_id") == 1


def test_empty_string_file_ids(api: Desk) -> None:
    api.emulator.fault("empty_string_file_ids")
    done = api.run(lines(1))
    assert done.output_file_id
    assert done.error_file_id == ""
    assert api.emulator.fired("empty_string_file_ids") == 1


def test_zero_byte_files(api: Desk) -> None:
    api.emulator.fault("zero_byte_files")
    done = api.run(lines(1))
    assert done.error_file_id
    assert api.raw(done.error_file_id) == b""
    assert api.emulator.fired("zero_byte_files") == 1


def test_file_expired(api: Desk) -> None:
    api.emulator.fault("file_expired")
    done = api.run(lines(1))
    assert done.output_file_id
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        api.raw(done.output_file_id)
    assert api.emulator.fired("file_expired") == 1


# Conditions


def test_shuffled(api: Desk) -> None:
    """Its own test is in test_batches.py, as it is on by default."""
    assert api.emulator.faults()["shuffled"]["active"]


def test_list_lag(api: Desk) -> None:
    api.emulator.fault("list_lag", seconds=60)
    batch = api.create("file-1")
    assert api.client.batches.list().data == []
    assert api.client.batches.retrieve(batch.id).id == batch.id
    api.emulator.advance(61)
    assert len(api.client.batches.list().data) == 1
    assert api.emulator.fired("list_lag") == 1


def test_file_list_lag(api: Desk) -> None:
    api.emulator.fault("file_list_lag", seconds=60)
    file = api.upload(lines(1))
    assert api.client.files.list().data == []
    assert api.client.files.retrieve(file.id).id == file.id
    api.emulator.advance(61)
    assert len(api.client.files.list().data) == 1
    assert api.emulator.fired("file_list_lag") == 1


def test_batches_per_hour(api: Desk) -> None:
    api.emulator.fault("batches_per_hour", limit=1)
    api.create("file-1")
    with pytest.raises(openai.RateLimitError) as limited:
        api.create("file-1")
    assert int(limited.value.response.headers["retry-after"]) > 3000
    api.emulator.lift("batches_per_hour")
    api.create("file-1")
    assert api.emulator.fired("batches_per_hour") == 1


def test_token_limit(api: Desk) -> None:
    api.emulator.fault("token_limit", limit=10, model="gpt-5.6-luna")
    assert _error(api.run(lines(5)))["code"] == "token_limit_exceeded"
    other = line("a")
    other["body"]["model"] = "gpt-6-luna"
    assert api.run([other]).status == "completed"
    assert api.emulator.fired("token_limit") == 1


# How faults are asked for


def test_a_fault_is_over_after_its_times(api: Desk) -> None:
    api.emulator.fault("rows_500", times=2)
    batches = [api.run(lines(1)) for _ in range(3)]
    assert [bool(batch.error_file_id) for batch in batches] == [True, True, False]
    view = api.emulator.faults()["rows_500"]
    assert (view["active"], view["times_left"], view["taken"], view["fired"]) == (False, 0, 2, 2)


def test_a_fault_with_times_null_stays(api: Desk) -> None:
    api.emulator.fault("list_500", times=None)
    for _ in range(3):
        with pytest.raises(openai.InternalServerError):
            api.client.batches.list()
    api.emulator.clear()
    api.client.batches.list()


def test_a_fault_with_times_zero_never_happens(api: Desk) -> None:
    api.emulator.fault("list_500", times=0)
    api.client.batches.list()


def test_an_unknown_fault_or_option_is_refused_in_words(api: Desk) -> None:
    with pytest.raises(ValueError, match="no fault 'lunch'"):
        api.emulator.fault("lunch")
    with pytest.raises(ValueError, match=r"takes no 'hour'\. It takes: seconds, times"):
        api.emulator.fault("list_lag", hour=1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rows_429", {"every": 0}),
        ("rows_429", {"first": "two"}),
        ("rows_429", {"times": -1}),
        ("list_lag", {"seconds": "long"}),
        ("cancel_midway", {"partial": "yes"}),
        ("unknown_status", {"status": 7}),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    api: Desk, name: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="'"):
        api.emulator.fault(name, **options)
    assert not api.emulator.faults()[name]["active"]


def test_faults_come_from_the_command_line() -> None:
    with running(faults="rows_429:first=2:times=null,list_500") as emulator:
        api = desk(emulator)
        with pytest.raises(openai.InternalServerError):
            api.client.batches.list()
        for _ in range(2):
            assert len(api.ids(api.run(lines(3)).error_file_id)) == 2


def test_an_unknown_fault_on_the_command_line_ends_the_emulator() -> None:
    with pytest.raises(RuntimeError, match="did not start"), running(faults="lunch"):
        pass


# Webhooks


def test_webhook_lost(api: Desk) -> None:
    with listening() as ear:
        api.emulator.webhook(ear.url, secret=SECRET)
        api.emulator.fault("webhook_lost")
        lost = api.run(lines(1))
        told = api.run(lines(1))
        ear.hear()
        expected = [(lost.id, []), (told.id, [200])]
        # It is heard before its answer is noted.
        wait_until(
            lambda: (
                [(one["batch"], one["answers"]) for one in api.emulator.deliveries()] == expected
            ),
            description="one was answered, and the other never sent",
        )
        assert api.emulator.fired("webhook_lost") == 1


def test_webhook_twice(api: Desk) -> None:
    with listening() as ear:
        api.emulator.webhook(ear.url, secret=SECRET)
        api.emulator.fault("webhook_twice")
        api.run(lines(1))
        one, other = ear.hear(2)
        assert one[1]["Webhook-Id"] == other[1]["Webhook-Id"]
        assert api.emulator.fired("webhook_twice") == 1


def test_webhook_late(api: Desk) -> None:
    with listening() as ear:
        api.emulator.webhook(ear.url, secret=SECRET)
        api.emulator.fault("webhook_late", seconds=0.5)
        done = api.run(lines(1))
        assert done.completed_at is not None
        ear.hear()
        assert time.time() - done.completed_at >= 0.5
        assert api.emulator.fired("webhook_late") == 1


@pytest.mark.parametrize("seconds", [301, 4000])
def test_webhook_stale(api: Desk, seconds: int) -> None:
    with listening() as ear:
        api.emulator.webhook(ear.url, secret=SECRET)
        api.emulator.fault("webhook_stale", seconds=seconds)
        api.run(lines(1))
        with pytest.raises(openai.InvalidWebhookSignatureError, match="too old"):
            api.client.webhooks.unwrap(*ear.hear()[0], secret=SECRET)
        assert api.emulator.fired("webhook_stale") == 1


def test_webhook_forged(api: Desk) -> None:
    with listening() as ear:
        api.emulator.webhook(ear.url, secret=SECRET)
        api.emulator.fault("webhook_forged")
        api.run(lines(1))
        with pytest.raises(openai.InvalidWebhookSignatureError, match="does not match"):
            api.client.webhooks.unwrap(*ear.hear()[0], secret=SECRET)
        assert api.emulator.fired("webhook_forged") == 1


# The account's


def test_input_file_lost(api: Desk) -> None:
    """The words are those of a file that is not there, and the file can be read."""
    api.emulator.fault("input_file_lost")
    file = api.upload(lines(2))
    done = api.finish(api.create(file.id))
    assert done.status == "failed"
    assert done.errors is not None
    assert done.errors.data is not None
    (error,) = done.errors.data
    assert (error.code, error.param, error.line) == ("invalid_request", "file_id", None)
    assert f"Cannot find file {file.id}" in str(error.message)
    assert api.client.files.content(file.id).text.count("\n") == 2
    assert api.emulator.fired("input_file_lost") == 1
    assert api.finish(api.create(file.id)).status == "completed"


def test_no_credit(api: Desk) -> None:
    """It is a condition: what runs while it holds fails, and nothing is billed."""
    api.emulator.fault("no_credit", every=2)
    done = api.finish(api.create(api.upload(lines(4)).id))
    assert (done.request_counts.completed, done.request_counts.failed) == (2, 2)  # type: ignore[union-attr]
    rows = api.client.files.content(str(done.error_file_id)).text.splitlines()
    for row in map(json.loads, rows):
        assert row["response"]["status_code"] == 429
        assert row["response"]["body"]["error"]["code"] == "insufficient_quota"
    assert api.emulator.fired("no_credit") == 1
    api.emulator.lift("no_credit")
    again = api.finish(api.create(api.upload(lines(4)).id))
    assert again.error_file_id is None


def test_no_credit__of_a_call(api: Desk) -> None:
    file = api.upload(lines(1))
    api.emulator.fault("no_credit", at="create", status=402, code=None)
    with pytest.raises(openai.APIStatusError) as refused:
        api.create(file.id)
    assert (refused.value.status_code, refused.value.type) == (402, "insufficient_quota")
    api.emulator.lift("no_credit")
    assert api.finish(api.create(file.id)).status == "completed"
