"""Servers that pass an error on, and tell its status in words only.

A refused line came without a status, its code in the words ("Error code: 400 - …"), or as a failure
of the server with a 400 inside: it was asked, and paid for, three times.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchq.decide.fetch import verdict_on_row
from batchq.prompt import Outcome
from batchq.provider.rows import parse_row
from batchq.provider.wordings import error_in_words, status_in_words

QUOTED = {"error": {"message": "No such tool.", "code": "bad_tool", "param": "tools", "type": "x"}}
SDK = f"Error code: 400 - {QUOTED!r}"


def outcome(**row: Any) -> tuple[bool, Outcome, dict[str, Any]]:
    parsed = parse_row(json.dumps({"custom_id": "t-0", **row}).encode())
    assert parsed is not None
    final, found = verdict_on_row(parsed)
    return final, found, json.loads(found.body)["error"]


def answered(status: Any, body: Any) -> dict[str, Any]:
    return {"status_code": status, "body": body, "request_id": "req_1"}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"error": {"message": SDK}}, id="no status"),
        pytest.param({"error": {"message": SDK, "code": None}, "response": None}, id="null"),
        pytest.param({"error": SDK}, id="an error in a word"),
        pytest.param({"error": {"message": SDK, "code": "batch_error"}}, id="a code of its own"),
        pytest.param({"response": answered(None, {"error": {"message": SDK}})}, id="null status"),
        pytest.param({"response": {"body": {"error": {"message": SDK}}}}, id="left out"),
        pytest.param(
            {"response": answered(503, {"error": {"code": "inference_failed", "message": SDK}})},
            id="wrapped as a failure",
        ),
        pytest.param(
            {
                "response": answered(503, None),
                "error": {"code": "inference_failed", "message": SDK},
            },
            id="wrapped, and beside it",
        ),
        pytest.param({"response": answered(500, SDK)}, id="a body in words"),
        pytest.param(
            {"error": {"message": f"status code: 400, body: {json.dumps(QUOTED)}"}}, id="as JSON"
        ),
    ],
)
def test_a_refusal_in_words_is_that_refusal(row: dict[str, Any]) -> None:
    final, found, error = outcome(**row)
    assert final
    assert found.status_code == 400
    assert error == {**QUOTED["error"], "type": "invalid_request_error"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": "400", "message": "no"}, 400),
        ({"code": 400, "message": "no"}, 400),
        ({"code": 422}, 422),
        ({"type": "invalid_request_error", "code": None, "message": "no"}, 400),
        ({"code": "context_length_exceeded"}, 400),
        ({"code": "model_not_found"}, 404),
        ({"message": "HTTP 413: too large"}, 413),
        ({"message": "HTTP/1.1 404 Not Found"}, 404),
        ({"message": "the backend answered with status 401"}, 401),
    ],
)
def test_a_code_may_be_a_status(error: dict[str, Any], status: int) -> None:
    final, found, _ = outcome(error=error)
    assert (final, found.status_code) == (True, status)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "Error code: 429 - slow down"}, 429),
        ({"message": "Error code: 503 - busy"}, 503),
        ({"code": "batch_expired", "message": "It expired."}, 504),
        ({"code": "batch_cancelled", "message": "It was cancelled."}, 503),
        ({"code": "rate_limit_exceeded"}, 429),
        ({"message": "400 tokens are not enough"}, 503),
        ({"message": ""}, 503),
    ],
)
def test_what_is_no_refusal_is_asked_again(error: dict[str, Any], status: int) -> None:
    final, found, _ = outcome(error=error)
    assert (final, found.status_code) == (False, status)


@pytest.mark.parametrize("status", [500, 503])
def test_a_failure_with_the_type_of_a_refusal_is_a_failure(status: int) -> None:
    error = {"error": {"type": "invalid_request_error", "code": None, "message": "Try later."}}
    final, found, _ = outcome(response=answered(status, error))
    assert (final, found.status_code) == (False, status)


def test_an_answer_is_never_an_error_in_words() -> None:
    body = {"choices": [{"message": {"content": "Error code: 400 - {}"}}]}
    parsed = parse_row(json.dumps({"custom_id": "t-0", "response": answered(200, body)}).encode())
    assert parsed is not None
    final, found = verdict_on_row(parsed)
    assert (final, found.status_code, json.loads(found.body)) == (True, 200, body)


@settings(max_examples=200)
@given(words=st.text(st.characters(categories=None)) | st.just("{" * 15_000 + "}" * 15_000))
def test_words_stop_nothing(words: str) -> None:
    assert isinstance(error_in_words(words), dict)
    assert isinstance(error_in_words(f"Error code: 400 - {{{words}}}"), dict)
    found = status_in_words(words)
    assert found is None or 400 <= found < 600
