"""The Files API: item 1 of the checklist."""

import json
from http.client import HTTPConnection
from pathlib import Path

import openai
import pytest

from tests.emulator.support import HOUR, Desk, lines, wait_until

MONTH = 30 * 86_400


def test_an_upload_is_described_as_openai_does(api: Desk) -> None:
    content = b'{"custom_id": "a"}\n'
    file = api.upload(content, "work.jsonl")
    assert file.id.startswith("file-")
    assert (file.object, file.filename, file.purpose) == ("file", "work.jsonl", "batch")
    assert (file.bytes, file.status, file.status_details) == (len(content), "processed", None)
    assert file.expires_at == file.created_at + MONTH


def test_an_upload_comes_back_byte_for_byte(api: Desk) -> None:
    content = b"--\r\n--boundary\r\n\r\n" + bytes(range(256)) * 5000 + b"\r\n--"
    file = api.upload(content)
    assert api.raw(file.id) == content


def test_a_name_may_be_unicode(api: Desk) -> None:
    assert api.upload(b"{}", "Überlänge 1.jsonl").filename == "Überlänge 1.jsonl"


def test_lines_are_not_checked_at_upload(api: Desk) -> None:
    assert api.upload(b"this is no JSON").status == "processed"


@pytest.mark.parametrize("name", ["notes.txt", "upload", "jsonl"])
def test_a_batch_file_must_be_named_jsonl(api: Desk, name: str) -> None:
    with pytest.raises(openai.BadRequestError, match=r"Must be \.jsonl"):
        api.upload(b"{}\n", name)


def test_raw_bytes_have_no_name_and_are_refused(api: Desk) -> None:
    with pytest.raises(openai.BadRequestError, match=r"Must be \.jsonl"):
        api.client.files.create(file=b"{}\n", purpose="batch")


def test_another_purpose_takes_any_name(api: Desk) -> None:
    file = api.client.files.create(file=("notes.txt", b"hello"), purpose="user_data")
    assert file.purpose == "user_data"


def test_an_unknown_purpose_is_refused(api: Desk) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        api.client.files.create(file=("a.jsonl", b"{}"), purpose="lunch")  # type: ignore[arg-type]
    assert refused.value.param == "purpose"


def test_a_file_of_more_than_200_mb_is_refused(api: Desk, tmp_path: Path) -> None:
    large = tmp_path / "large.jsonl"
    with large.open("wb") as target:
        target.truncate(200_000_001)
    with pytest.raises(openai.BadRequestError, match="File is too large"), large.open("rb") as file:
        api.client.files.create(file=file, purpose="batch")


@pytest.mark.parametrize("missing", ["file", "purpose"])
def test_a_part_that_is_missing_is_named(api: Desk, missing: str) -> None:
    parts = {
        "file": 'name="file"; filename="a.jsonl"\r\n\r\n{}',
        "purpose": 'name="purpose"\r\n\r\nbatch',
    }
    del parts[missing]
    body = "".join(f"--b\r\nContent-Disposition: form-data; {part}\r\n" for part in parts.values())
    status, answer = _post(api, f"{body}--b--\r\n".encode())
    assert status == 400
    assert answer["error"]["param"] == missing
    assert answer["error"]["code"] == "missing_required_parameter"


def test_a_body_without_its_last_boundary_is_refused(api: Desk) -> None:
    status, _ = _post(api, b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nba')
    assert status == 400


def _post(api: Desk, body: bytes) -> tuple[int, dict[str, dict[str, str]]]:
    connection = HTTPConnection(api.emulator.root.removeprefix("http://"))
    headers = {"authorization": "Bearer k", "content-type": "multipart/form-data; boundary=b"}
    connection.request("POST", "/v1/files", body, headers)
    answer = connection.getresponse()
    read = json.load(answer)
    connection.close()
    return answer.status, read


def test_a_file_can_expire_sooner(api: Desk) -> None:
    file = api.client.files.create(
        file=("a.jsonl", b"{}"),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert file.expires_at == file.created_at + 3600
    api.emulator.advance(3601)
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        api.client.files.retrieve(file.id)


@pytest.mark.parametrize("seconds", [3599, 2_592_001])
def test_the_life_of_a_file_has_bounds(api: Desk, seconds: int) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        api.client.files.create(
            file=("a.jsonl", b"{}"),
            purpose="batch",
            expires_after={"anchor": "created_at", "seconds": seconds},
        )
    assert refused.value.param == "expires_after.seconds"


def test_files_are_listed_newest_first_and_in_pages(api: Desk) -> None:
    ids = [api.upload(b"{}", f"{number}.jsonl").id for number in range(5)]
    page = api.client.files.list(limit=2)
    assert [file.id for file in page.data] == [ids[4], ids[3]]
    assert page.has_more
    assert [file.id for file in page] == ids[::-1]
    assert [file.id for file in api.client.files.list(order="asc")] == ids


def test_files_are_listed_by_purpose(api: Desk) -> None:
    api.client.files.create(file=("a.txt", b"x"), purpose="user_data")
    batch = api.upload(b"{}")
    assert [file.id for file in api.client.files.list(purpose="batch")] == [batch.id]


def test_a_deleted_file_is_gone(api: Desk) -> None:
    file = api.upload(b"{}")
    assert api.client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        api.client.files.content(file.id)


def test_a_batch_outlives_its_deleted_input(slow: Desk) -> None:
    file = slow.upload(lines(10))
    batch = slow.create(file.id)
    slow.emulator.advance(HOUR)
    slow.reach(batch, "in_progress")
    slow.client.files.delete(file.id)
    slow.client.batches.cancel(batch.id)
    slow.emulator.advance(HOUR)
    done = slow.reach(batch, "cancelled")
    assert len(slow.ids(done.output_file_id) + slow.ids(done.error_file_id)) == 10


def test_a_download_has_its_length(api: Desk) -> None:
    file = api.upload(b"x" * 1_000_000)
    with api.client.files.with_streaming_response.content(file.id) as answer:
        assert answer.headers["content-length"] == "1000000"
        assert answer.headers["x-request-id"]
        assert len(answer.read()) == 1_000_000


def test_result_files_are_batch_output_and_live_a_month(api: Desk) -> None:
    done = api.run(lines(1))
    file = api.client.files.retrieve(done.output_file_id or "")
    assert file.purpose == "batch_output"
    assert file.expires_at == pytest.approx(file.created_at + MONTH, abs=1)


def test_result_files_live_as_long_as_the_batch_says(api: Desk) -> None:
    batch = api.create(
        api.upload(lines(1)).id, output_expires_after={"anchor": "created_at", "seconds": 7200}
    )
    done = api.finish(batch)
    file = api.client.files.retrieve(done.output_file_id or "")
    assert file.expires_at == pytest.approx(file.created_at + 7200, abs=1)


def test_an_upload_that_breaks_off_leaves_nothing(api: Desk) -> None:
    connection = HTTPConnection(api.emulator.root.removeprefix("http://"))
    connection.putrequest("POST", "/v1/files")
    connection.putheader("authorization", "Bearer k")
    connection.putheader("content-type", "multipart/form-data; boundary=b")
    connection.putheader("content-length", "1000")
    connection.endheaders(b'--b\r\nContent-Disposition: form-data; name="file"')
    connection.close()
    wait_until(lambda: api.emulator.ledger(summary=True), description="the emulator answers")
    assert api.client.files.list().data == []
