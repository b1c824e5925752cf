"""Whole-batch failures: item 3 of the checklist."""

import json
from typing import Any

import pytest
from openai.types import Batch

from batchq.emulator import running
from tests.emulator.support import CHAT, MODEL, Desk, chat_body, desk, jsonl, line, lines


def _without(name: str) -> dict[str, Any]:
    row = line("b")
    del row[name]
    return row


def _failure(batch: Batch) -> tuple[str | None, str | None, int | None]:
    assert batch.status == "failed"
    assert batch.failed_at
    assert (batch.output_file_id, batch.error_file_id) == (None, None)
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 0, "completed": 0, "failed": 0}
    assert batch.errors is not None
    assert batch.errors.data is not None
    (error,) = batch.errors.data
    assert error.message
    return error.code, error.param, error.line


GOOD = json.dumps(line("a")).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "failure"),
    [
        (GOOD + b"no JSON\n", ("invalid_json_line", None, 2)),
        (GOOD + b"\n" + jsonl([line("b")]), ("invalid_json_line", None, 2)),
        (GOOD + b"\n", ("invalid_json_line", None, 2)),
        (b"\xef\xbb\xbf" + GOOD, ("invalid_json_line", None, 1)),
        (GOOD + b"[1]\n", ("invalid_json_line", None, 2)),
        (GOOD + b'{"custom_id": "\xff"}\n', ("invalid_json_line", None, 2)),
        (b'{"custom_id": NaN}\n', ("invalid_json_line", None, 1)),
        (b"[" * 100_000 + b"\n", ("invalid_json_line", None, 1)),
        (GOOD + GOOD, ("duplicate_custom_id", "custom_id", 2)),
        (jsonl([line("a"), _without("custom_id")]), ("missing_required_parameter", "custom_id", 2)),
        (jsonl([line("a"), _without("method")]), ("missing_required_parameter", "method", 2)),
        (jsonl([line("a"), _without("url")]), ("missing_required_parameter", "url", 2)),
        (jsonl([line("a"), _without("body")]), ("missing_required_parameter", "body", 2)),
        (jsonl([line("a") | {"method": "GET"}]), ("invalid_request", "method", 1)),
        (jsonl([line("a", url="/v1/embeddings")]), ("invalid_url", "url", 1)),
        (
            jsonl([line("a"), line("b", chat_body("x") | {"model": "gpt-6-luna"})]),
            ("mismatched_model", "body.model", 2),
        ),
        (
            jsonl([line("a"), line("b", chat_body("x") | {"model": f"{MODEL}-2026-07-01"})]),
            ("mismatched_model", "body.model", 2),
        ),
        (jsonl([line("a", {"messages": []})]), ("invalid_request", "body.model", 1)),
        (
            jsonl([line("a"), line("b", chat_body("x", stream=True))]),
            ("streaming_unsupported", "body.stream", 2),
        ),
        (b"", ("empty_file", None, None)),
    ],
)
def test_the_first_bad_line_fails_the_batch(
    api: Desk, content: bytes, failure: tuple[str, str | None, int | None]
) -> None:
    assert _failure(api.run(content)) == failure
    assert api.billed() == {}


def test_stream_false_is_fine(api: Desk) -> None:
    assert api.run([line("a", chat_body("x", stream=False))]).status == "completed"


def test_a_last_line_needs_no_newline(api: Desk) -> None:
    assert api.run(GOOD.rstrip()).status == "completed"


def test_custom_ids_may_be_long_and_unicode(api: Desk) -> None:
    names = ["ünï cödé", "x" * 300, "\u2028", 'quote"s']
    done = api.run([line(name) for name in names])
    assert sorted(api.ids(done.output_file_id)) == sorted(names)


def test_only_the_first_error_is_told(api: Desk) -> None:
    assert _failure(api.run(GOOD + b"bad\n" + b"worse\n")) == ("invalid_json_line", None, 2)


def test_there_are_at_most_50_000_lines(api: Desk) -> None:
    row = b'{"custom_id":"%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}\n'
    content = b"".join(row % number for number in range(50_001))
    assert _failure(api.run(content)) == ("too_many_tasks", None, 50_001)


def test_there_are_at_most_50_000_embedding_inputs(api: Desk) -> None:
    body = {"model": "text-embedding-3-small", "input": ["x"] * 2048}
    rows = [line(f"{number}", body, "/v1/embeddings") for number in range(25)]
    done = api.run(rows, "/v1/embeddings")
    assert _failure(done) == ("invalid_request", "body.input", 25)


def test_a_model_must_be_known() -> None:
    with running(arguments=["--models", "gpt-6-luna,gpt-6-sol"]) as emulator:
        done = desk(emulator).run(lines(1))
        assert _failure(done) == ("model_not_found", "body.model", 1)


def test_enqueued_tokens_are_limited_until_batches_end() -> None:
    """The limit counts the prompt tokens of all batches of the model that are not terminal."""
    rows = [line(f"line-{number}", chat_body("x" * 400)) for number in range(10)]  # 1,070 tokens
    with running(token_limit=2000, run_seconds=3600.0) as emulator:
        api = desk(emulator)
        first = api.submit(rows)
        api.reach(first, "in_progress")
        second = api.run(rows)
        assert _failure(second) == ("token_limit_exceeded", None, None)
        assert second.errors is not None
        assert second.errors.data is not None
        assert second.errors.data[0].message == (
            f"Enqueued token limit reached for {MODEL} in organization org-emulator. "
            "Limit: 2,000 enqueued tokens. Please try again once some in_progress batches have "
            "been completed."
        )
        other = [line("other", chat_body("x" * 400) | {"model": "gpt-6-luna"})]
        api.reach(api.submit(other, CHAT), "in_progress")
        emulator.advance(3600)
        api.reach(first, "completed")
        api.reach(api.submit(rows), "in_progress")
