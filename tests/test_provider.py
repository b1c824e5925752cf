"""The Batch API over a socket: what is sent, what comes back, and what may be told of a failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from batchq.errors import (
    ConfigurationError,
    ProviderNotFound,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnauthorized,
    ProviderUnclear,
)
from batchq.provider import sending
from batchq.provider.client import Provider, provider_for
from batchq.provider.descriptions import BatchErrorLine, ProviderBatch, Row
from batchq.provider.parse import parse_batch, split_lines
from batchq.provider.rows import parse_row
from batchq.settings.account import Account
from batchq.settings.config import settings
from tests.harness import Emulator, ReservedPort, wait_until
from tests.proxy import Proxy

CANARY = "sk-canary-4815162342"
CHAT = "/v1/chat/completions"
DAYS = timedelta(days=14)
NO_METADATA: Mapping[str, str] = {}


@pytest.fixture
def provider(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Provider:
    monkeypatch.setenv("PROVIDER_KEY", CANARY)
    return Provider("default", Account(base_url=emulator.url, api_key="env:PROVIDER_KEY"))


def line(number: int, **body: object) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"question {number}"}]
    return {
        "custom_id": f"task-{number}",
        "method": "POST",
        "url": CHAT,
        "body": {"model": "gpt-5.6-luna", "messages": messages} | body,
    }


@pytest.fixture
def batch_file(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: dict[str, Any]) -> Path:
        path = tmp_path / "lines"
        path.write_text("".join(json.dumps(one) + "\n" for one in lines or (line(1), line(2))))
        return path

    return write


@pytest.fixture
def submit(provider: Provider, batch_file: Callable[..., Path]) -> Callable[..., ProviderBatch]:
    def create(*lines: dict[str, Any], batch_key: str = "key") -> ProviderBatch:
        file_id = provider.upload(batch_file(*lines), name="key.jsonl", expires_after=DAYS)
        return create_batch(provider, file_id, batch_key)

    return create


def create_batch(provider: Provider, file_id: str, batch_key: str = "key") -> ProviderBatch:
    return provider.create(
        file_id=file_id,
        endpoint=CHAT,
        batch_key=batch_key,
        metadata={"lane": "tests"},
        expires_after=DAYS,
    )


def final(provider: Provider, batch: ProviderBatch) -> ProviderBatch:
    def ended() -> ProviderBatch | None:
        now = provider.retrieve(batch.id)
        return now if now.status in {"completed", "failed", "expired", "cancelled"} else None

    return wait_until(ended, description="the batch is final")


def just_now() -> datetime:
    return datetime.now(UTC)


def assert_tells_no_secret(error: BaseException) -> None:
    """Neither in words, nor in parts, nor through the chain, where crash reporters look."""
    assert CANARY not in "".join(traceback.format_exception(error))
    assert CANARY not in repr(error.args) + repr(vars(error))
    assert error.__cause__ is None
    assert error.__context__ is None


class TestJourney:
    def test_a_batch_from_file_to_rows(
        self, provider: Provider, submit: Callable[..., ProviderBatch]
    ) -> None:
        started = just_now() - timedelta(seconds=2)
        created = submit(line(1), line(2), line(3))
        assert created.status == "validating"
        assert created.metadata == {"batchq": "key", "lane": "tests"}
        assert created.created_at is not None
        assert created.created_at > started
        ended = final(provider, created)
        assert (ended.status, ended.total, ended.completed, ended.failed) == ("completed", 3, 3, 0)
        assert ended.id == created.id
        assert ended.error_file_id is None
        assert ended.model is not None
        assert ended.usage is not None
        assert ended.output_file_id is not None
        rows = [parse_row(row) for row in provider.rows(ended.output_file_id)]
        assert sorted(row.custom_id for row in rows if row) == ["task-1", "task-2", "task-3"]
        for row in rows:
            assert row is not None
            assert row.status_code == 200
            assert row.body["choices"][0]["message"]["content"]
            assert row.error_code is None

    def test_files_are_deleted_and_gone_is_fine(
        self, provider: Provider, batch_file: Callable[..., Path]
    ) -> None:
        file_id = provider.upload(batch_file(), name="gone.jsonl", expires_after=DAYS)
        provider.delete_file(file_id)
        with pytest.raises(ProviderNotFound):
            next(provider.rows(file_id))
        provider.delete_file(file_id)

    def test_expiry_may_be_left_to_the_provider(
        self, provider: Provider, batch_file: Callable[..., Path]
    ) -> None:
        file_id = provider.upload(batch_file(), name="kept.jsonl", expires_after=None)
        created = provider.create(
            file_id=file_id,
            endpoint=CHAT,
            batch_key="kept",
            metadata=NO_METADATA,
            expires_after=None,
        )
        assert created.metadata == {"batchq": "kept"}

    def test_a_batch_that_fails_says_which_line(
        self, provider: Provider, submit: Callable[..., ProviderBatch]
    ) -> None:
        ended = final(provider, submit(line(1), line(2, model="gpt-5.6-sol")))
        assert (ended.status, ended.total) == ("failed", 0)
        (error,) = ended.errors
        assert (error.code, error.param, error.line) == ("mismatched_model", "body.model", 2)
        assert error.message

    def test_a_batch_can_be_cancelled(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("stuck_in_progress")
        batch = submit()
        wait_until(
            lambda: provider.retrieve(batch.id).status == "in_progress", description="it runs"
        )
        assert provider.cancel(batch.id).status in {"cancelling", "cancelled"}
        assert final(provider, batch).status == "cancelled"

    def test_an_error_row_carries_the_error_of_its_prompt(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("all_lines_fail")
        ended = final(provider, submit())
        assert ended.output_file_id is None
        assert ended.error_file_id is not None
        row = parse_row(next(provider.rows(ended.error_file_id)))
        assert row is not None
        assert row.status_code == 400
        assert row.body["error"]["code"] == "invalid_value"

    def test_azure_speaks_through_its_own_paths(
        self,
        emulator: Emulator,
        monkeypatch: pytest.MonkeyPatch,
        batch_file: Callable[..., Path],
    ) -> None:
        monkeypatch.setenv("PROVIDER_KEY", CANARY)
        account = Account(
            kind="azure",
            base_url=emulator.root,
            api_key="env:PROVIDER_KEY",
            api_version="2024-10-21",
        )
        azure = Provider("azure", account)
        file_id = azure.upload(batch_file(), name="azure.jsonl", expires_after=DAYS)
        ended = final(azure, create_batch(azure, file_id))
        assert ended.status == "completed"
        assert ended.output_file_id is not None
        assert len(list(azure.rows(ended.output_file_id))) == 2


class TestFinding:
    def test_the_newest_file_of_a_name(
        self, provider: Provider, batch_file: Callable[..., Path]
    ) -> None:
        assert provider.find_file("key.jsonl", since=just_now()) is None
        ids = [
            provider.upload(batch_file(), name=name, expires_after=DAYS)
            for name in ("key.jsonl", "other.jsonl")
        ]
        assert provider.find_file("key.jsonl", since=just_now()) == ids[0]
        assert provider.find_file("key", since=just_now()) is None

    def test_a_batch_is_found_by_its_key(
        self, provider: Provider, submit: Callable[..., ProviderBatch]
    ) -> None:
        mine, other = submit(batch_key="mine"), submit(batch_key="other")
        assert [one.id for one in provider.find_batches("mine", since=just_now())] == [mine.id]
        assert [one.id for one in provider.find_batches("other", since=just_now())] == [other.id]
        assert provider.find_batches("neither", since=just_now()) == []

    def test_it_is_found_behind_more_than_a_page_of_others(
        self, provider: Provider, batch_file: Callable[..., Path]
    ) -> None:
        since = just_now()
        file_id = provider.upload(batch_file(), name="key.jsonl", expires_after=DAYS)
        mine = create_batch(provider, file_id, "mine")
        for number in range(sending.PAGE + 5):
            create_batch(provider, file_id, f"other-{number}")
        assert [one.id for one in provider.find_batches("mine", since=since)] == [mine.id]

    def test_a_batch_may_be_in_the_list_late(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("list_lag", seconds=600)
        batch = submit(batch_key="late")
        since = just_now()
        assert provider.find_batches("late", since=since) == []
        emulator.advance(timedelta(seconds=601))
        assert [one.id for one in provider.find_batches("late", since=since)] == [batch.id]


class TestUnclear:
    """After these the call may have had its effect, and the caller has to look."""

    def test_a_create_whose_answer_is_lost_is_not_sent_again(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        """The SDK would retry it, and the second batch would be paid for as well."""
        emulator.fault("create_drop_after")
        with pytest.raises(ProviderUnclear) as caught:
            submit(batch_key="lost")
        assert (caught.value.account, caught.value.call) == ("default", "batches.create")
        assert_tells_no_secret(caught.value)
        assert len(provider.find_batches("lost", since=just_now())) == 1

    def test_a_create_that_is_too_slow(
        self,
        provider: Provider,
        emulator: Emulator,
        submit: Callable[..., ProviderBatch],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sending, "CONTROL_SECONDS", 0.3)
        emulator.fault("create_slow_after", seconds=3)
        with pytest.raises(ProviderUnclear, match="Timeout"):
            submit(batch_key="slow")
        assert len(provider.find_batches("slow", since=just_now())) == 1

    def test_no_call_waits_on_a_connection_that_died_meanwhile(
        self, provider: Provider, emulator: Emulator, batch_file: Callable[..., Path]
    ) -> None:
        """An upload took the connection of the call before it, which a firewall had forgotten in
        between: it waited ten minutes.
        """
        with Proxy(emulator.port) as link:
            url = f"http://127.0.0.1:{link.port}/v1"
            behind = Provider("default", Account(base_url=url, api_key=provider.account.api_key))
            assert behind.find_batches("none", since=just_now()) == []
            link.mode = "zombie"
            # The test's own time is up long before ten minutes are.
            assert behind.upload(batch_file(line(0)), name="after.jsonl", expires_after=DAYS)

    @pytest.mark.parametrize("fault", ["create_500", "create_drop_before"])
    def test_a_create_that_left_nothing_looks_the_same(
        self,
        provider: Provider,
        emulator: Emulator,
        submit: Callable[..., ProviderBatch],
        fault: str,
    ) -> None:
        emulator.fault(fault)
        with pytest.raises(ProviderUnclear) as caught:
            submit(batch_key="nothing")
        assert_tells_no_secret(caught.value)
        assert provider.find_batches("nothing", since=just_now()) == []

    def test_an_upload_whose_answer_is_lost(
        self, provider: Provider, emulator: Emulator, batch_file: Callable[..., Path]
    ) -> None:
        emulator.fault("upload_drop_after")
        with pytest.raises(ProviderUnclear, match=r"files\.create"):
            provider.upload(batch_file(), name="lost.jsonl", expires_after=DAYS)
        assert provider.find_file("lost.jsonl", since=just_now()) is not None

    def test_a_web_page_instead_of_an_answer(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        batch = submit()
        emulator.fault("html_instead_of_json", call="retrieve")
        with pytest.raises(ProviderUnclear, match="not a JSON object"):
            provider.retrieve(batch.id)

    def test_nobody_listens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROVIDER_KEY", CANARY)
        nobodys = ReservedPort()
        url = f"http://127.0.0.1:{nobodys.number}/v1"
        with pytest.raises(ProviderUnclear, match="ConnectError") as caught:
            Provider("default", Account(base_url=url, api_key="env:PROVIDER_KEY")).retrieve("b")
        assert_tells_no_secret(caught.value)

    def test_a_gateway_without_a_backend(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        ended = final(provider, submit())
        assert ended.output_file_id is not None
        emulator.fault("content_502")
        with pytest.raises(ProviderUnclear, match="502"):
            next(provider.rows(ended.output_file_id))
        assert len(list(provider.rows(ended.output_file_id))) == 2

    def test_a_web_page_instead_of_a_file(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        """A gateway answered downloads with a page and status 200. After three looks its lines
        counted as rows that are missing, and the whole batch was asked and paid for again.
        """
        ended = final(provider, submit())
        assert ended.output_file_id is not None
        emulator.fault("html_instead_of_json", call="content")
        with pytest.raises(ProviderUnclear, match="a web page"):
            next(provider.rows(ended.output_file_id))
        assert len(list(provider.rows(ended.output_file_id))) == 2

    def test_a_download_that_breaks_off_gives_whole_lines_only(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        ended = final(provider, submit(*(line(number) for number in range(40))))
        assert ended.output_file_id is not None
        emulator.fault("content_cut", at=0.5)
        rows: list[bytes] = []
        with pytest.raises(ProviderUnclear, match=r"files\.content.*broke off") as caught:
            rows.extend(provider.rows(ended.output_file_id))
        assert_tells_no_secret(caught.value)
        assert all(parse_row(row) for row in rows)
        assert len(rows) < 40
        assert len(list(provider.rows(ended.output_file_id))) == 40


class TestRefused:
    """After these nothing happened, and the provider said why."""

    def test_a_wrong_key(self, provider: Provider, emulator: Emulator) -> None:
        emulator.fault("unauthorized")
        with pytest.raises(ProviderUnauthorized) as caught:
            provider.retrieve("batch_1")
        assert caught.value.status_code == 401
        assert_tells_no_secret(caught.value)

    def test_a_key_the_provider_repeats_is_blanked(
        self, provider: Provider, emulator: Emulator
    ) -> None:
        emulator.fault(
            "call_error", call="retrieve", status=401, message=f"Incorrect API key: {CANARY}"
        )
        with pytest.raises(ProviderUnauthorized, match="Incorrect API key: …") as caught:
            provider.retrieve("batch_1")
        assert_tells_no_secret(caught.value)

    def test_an_unknown_batch(self, provider: Provider) -> None:
        with pytest.raises(ProviderNotFound, match="No batch found") as caught:
            provider.retrieve("batch_unknown")
        assert caught.value.call == "batches.retrieve"

    def test_too_many_batches(
        self, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("create_429", retry_after=7)
        with pytest.raises(ProviderThrottled) as caught:
            submit()
        assert caught.value.retry_after == timedelta(seconds=7)

    def test_a_file_that_is_no_batch_file(
        self, provider: Provider, batch_file: Callable[..., Path]
    ) -> None:
        with pytest.raises(ProviderRefused) as caught:
            provider.upload(batch_file(), name="lines.txt", expires_after=DAYS)
        assert "jsonl" in caught.value.message
        assert type(caught.value) is ProviderRefused
        assert caught.value.status_code == 400

    def test_no_key_to_be_read_names_the_account(
        self, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("PROVIDER_KEY")
        with pytest.raises(ConfigurationError, match=r"batchq_accounts\['default'\]\.api_key"):
            provider.retrieve("batch_1")


class TestOddAnswers:
    """What providers write differently is made equal."""

    def test_upper_case_words_and_one_l(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("uppercase_status")
        emulator.fault("stuck_in_progress")
        emulator.fault("slow_cancelling")
        batch = submit()
        assert batch.status == "validating"
        wait_until(
            lambda: provider.retrieve(batch.id).status == "in_progress", description="it runs"
        )
        assert provider.cancel(batch.id).status == "cancelling"

    def test_a_status_nobody_has_seen(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("unknown_status", status="rebalancing", polls=50)
        batch = submit()
        wait_until(
            lambda: provider.retrieve(batch.id).status == "rebalancing", description="it is odd"
        )

    def test_counts_that_are_null(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("null_counts")
        ended = final(provider, submit())
        assert (ended.total, ended.completed, ended.failed) == (0, 0, 0)

    def test_file_ids_that_are_empty(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("empty_string_file_ids")
        ended = final(provider, submit())
        assert ended.output_file_id
        assert ended.error_file_id is None

    def test_a_file_of_no_bytes(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("zero_byte_files")
        ended = final(provider, submit())
        assert ended.error_file_id is not None
        assert list(provider.rows(ended.error_file_id)) == []

    def test_a_last_line_without_its_newline(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("no_trailing_newline")
        ended = final(provider, submit())
        assert ended.output_file_id is not None
        assert len([row for row in provider.rows(ended.output_file_id) if parse_row(row)]) == 2

    def test_a_row_of_twenty_megabytes(
        self, provider: Provider, emulator: Emulator, submit: Callable[..., ProviderBatch]
    ) -> None:
        emulator.fault("huge_row", bytes=20_000_000)
        ended = final(provider, submit())
        assert ended.output_file_id is not None
        rows = list(provider.rows(ended.output_file_id))
        assert max(map(len, rows)) > 19_000_000
        assert all(parse_row(row) for row in rows)

    @pytest.mark.parametrize(
        ("errors", "seen"),
        [
            (None, ()),
            ({"object": "list", "data": None}, ()),
            ([{"message": "Bad."}], (BatchErrorLine(None, "Bad.", None, None),)),
            (
                {"data": [{"code": "invalid_json_line", "message": None, "line": "3"}]},
                (BatchErrorLine("invalid_json_line", "", None, 3),),
            ),
            ("something", ()),
        ],
    )
    def test_errors_in_every_shape(self, errors: object, seen: object) -> None:
        answer = {"id": "b", "status": "FAILED", "errors": errors, "created_at": "soon"}
        batch = parse_batch(answer)
        assert (batch.status, batch.errors, batch.created_at) == ("failed", seen, None)


class TestProcesses:
    def test_one_provider_per_account_and_process(self) -> None:
        app = Celery(set_as_current=False, broker="redis://")
        app.conf.batchq_accounts = {"one": {}, "two": {}}
        one = provider_for(settings(app), "one")
        assert provider_for(settings(app), "one") is one
        assert provider_for(settings(app), "two") is not one
        with pytest.raises(ConfigurationError, match="no account 'three'"):
            provider_for(settings(app), "three")

    def test_a_rotated_key_is_picked_up(
        self, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client, key = provider._sender._client()
        assert provider._sender._client() == (client, key)
        monkeypatch.setenv("PROVIDER_KEY", "rotated")
        assert provider._sender._client()[0].api_key == "rotated"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    def test_a_fork_makes_a_client_of_its_own(
        self, provider: Provider, submit: Callable[..., ProviderBatch]
    ) -> None:
        """A child that used its parent's connections hung, one time in two."""
        batch = submit()
        before = provider._sender._client()[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads
            child = os.fork()
        if child == 0:
            try:
                same = provider.retrieve(batch.id).id == batch.id
                os._exit(0 if same and provider._sender._client()[0] is not before else 1)
            except BaseException:  # noqa: BLE001 the child of a test must not go on as pytest
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert provider._sender._client()[0] is before

    def test_the_sdk_is_imported_when_it_is_needed(self) -> None:
        code = "import sys, batchq.provider.client; sys.exit('openai' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestRows:
    @pytest.mark.parametrize(
        ("given", "row"),
        [
            (
                {"custom_id": "a", "response": {"status_code": 200, "request_id": "r", "body": {}}},
                Row("a", 200, {}, "r"),
            ),
            (
                {
                    "custom_id": "a",
                    "response": None,
                    "error": {"code": "batch_expired", "message": "Too late."},
                },
                Row("a", None, None, None, "batch_expired", "Too late."),
            ),
            ({"custom_id": "a", "error": "broken"}, Row("a", None, None, None, None, "broken")),
            ({"custom_id": "a", "response": {"status_code": 0}}, Row("a", None, None)),
            ({"custom_id": "a", "response": {"status_code": None}}, Row("a", None, None)),
            ({"custom_id": "a", "response": {"status_code": "429"}}, Row("a", 429, None)),
            ({"custom_id": "a", "response": {"body": {"id": "c"}}}, Row("a", 200, {"id": "c"})),
            (
                {"custom_id": "a", "response": {"body": {"error": {"code": "x"}}}},
                Row("a", None, {"error": {"code": "x"}}, None, "x"),
            ),
            ({"custom_id": "a", "response": "text"}, Row("a", None, None)),
            ({"custom_id": "a"}, Row("a", None, None)),
        ],
    )
    def test_each_shape(self, given: dict[str, Any], row: Row) -> None:
        assert parse_row(json.dumps(given).encode()) == row

    @pytest.mark.parametrize(
        "body",
        [
            b'{"n": 1.10, "big": 123456789012345678901234567890, "x": NaN, "y": -Infinity}',
            rb'{"half": "\ud83d", "\u0062ody": {"body": {}}, "text": "\"body\": {"}',
            '{"é": "ü\u2028"  ,  "a": 1, "a": 2}'.encode(),
        ],
    )
    @pytest.mark.parametrize(
        "row",
        [
            b'{"custom_id": "a", "response": {"status_code": 200, "body": %b}}',
            b'{"response":{"body":%b,"status_code":200},"error":null,"custom_id":"a"} \r',
        ],
    )
    def test_a_body_is_kept_as_it_stands_in_the_file(self, row: bytes, body: bytes) -> None:
        """Numbers of any length, halves of emojis, what is no JSON but Python reads."""
        read = parse_row(row % body)
        assert read is not None
        assert read.raw == body
        assert repr(read.body) == repr(json.loads(body))

    @pytest.mark.parametrize(
        "row",
        [
            b'{"custom_id": "a", "body": {"no": 1}, "response": {"status_code": 200, "body": %b}}',
            b'{"custom_id": "a", "response": {"status_code": 200, "body": {"no": 1}, "body": %b}}',
            b'{"custom_id": "a", "response": {"body": {"no": 1}}, "response": {"body": %b}}',
            b'{"custom_id": "a", "x": {"body": {"no": 1}}, "response": {"body": %b}}',
            rb'{"custom_id": "a", "\"body": {"no": 1}, "response": {"body": %b}}',
            rb'{"custom_id": "a", "x": "\"body\":{}", "response": {"body" : %b}}',
            b'\xef\xbb\xbf{"custom_id": "a", "response": {"body": %b}}',
            b'{"custom_id": "a", "x": "\xed\xa0\xbd", "response": {"body": %b}}',
        ],
    )
    def test_no_other_body_is_taken_for_that_of_the_answer(self, row: bytes) -> None:
        read = parse_row(row % b'{"yes": 1}')
        assert read is not None
        assert (read.status_code, read.body) == (200, {"yes": 1})
        assert read.raw in {None, b'{"yes": 1}'}

    @pytest.mark.parametrize(
        "rubbish",
        [
            *(b"", b" ", b"{", b"null", b"[]", b'"a"', b"{}", b"\xff\xfe", b"[" * 99_999),
            *(b'{"custom_id": 7}', b'{"custom_id": ""}', b'{"custom_id": "a", "response": {"sta'),
            b'{"custom_id": "a", "response": {"body": {"id": "c"}}',
            b'{"custom_id": "a", "response": {"body": {"id": "c"}}}}',
            b'{"custom_id": "a", "response": {"body": {"id": "c"',
        ],
    )
    def test_rubbish_is_none(self, rubbish: bytes) -> None:
        assert parse_row(rubbish) is None

    @given(st.lists(st.binary(max_size=12).map(lambda part: part.replace(b"x", b"\n"))))
    def test_lines_do_not_depend_on_how_they_arrive(self, chunks: list[bytes]) -> None:
        """Only a newline ends a line: a file may well hold a form feed or a lone CR."""
        *whole, last = b"".join(chunks).split(b"\n")
        expected = whole + ([last] if last else [])
        assert list(split_lines(iter(chunks))) == expected


# A look


def test_a_look_costs_nothing_and_tells_the_time(provider: Provider, emulator: Emulator) -> None:
    ahead = provider.look()
    assert ahead is not None
    assert abs(ahead) < timedelta(seconds=10)
    assert emulator.ledger()["batches_created"] == 0


def test_a_look_says_what_is_wrong(provider: Provider, emulator: Emulator) -> None:
    emulator.fault("unauthorized")
    with pytest.raises(ProviderUnauthorized):
        provider.look()
    emulator.fault("html_instead_of_json", call="list")
    with pytest.raises(ProviderUnclear):
        provider.look()
    with pytest.raises(ProviderUnclear):
        Provider("away", Account(base_url="http://127.0.0.1:1/v1")).look()
