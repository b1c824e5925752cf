"""Nothing that a provider says of a batch can stop a poll.

A count in words, a time as a date, half an emoji in a status or in an error: a poll raised at each
try, and its batch was never fetched.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI

from batchq.decide.poll import files_missing
from batchq.decide.validation import after_failed_validation
from batchq.provider.client import Provider
from batchq.provider.descriptions import ProviderBatch
from batchq.provider.parse import parse_batch
from batchq.provider.sending import Sender
from tests.capture.bench import Bench, ask
from tests.cases.test_hostile_rows import _VALUES

client = OpenAI()

FIELDS = (
    *("status", "request_counts", "created_at", "expires_at", "errors", "usage", "metadata"),
    *("output_file_id", "error_file_id", "input_file_id", "model", "object", "endpoint"),
)
_COUNTS = st.dictionaries(st.sampled_from(["total", "completed", "failed"]), _VALUES, max_size=3)
_ERROR = st.dictionaries(st.sampled_from(["code", "message", "line", "param"]), _VALUES)
_ERRORS = st.lists(_ERROR, max_size=2) | st.fixed_dictionaries({"data": st.lists(_ERROR)})
_LIKELY = {"request_counts": _COUNTS, "errors": _ERRORS, "status": st.just("completed")}


@settings(max_examples=300)
@given(
    answer=st.fixed_dictionaries(
        {"id": st.just("batch_1")},
        optional={name: _LIKELY.get(name, _VALUES) | _VALUES for name in FIELDS},
    )
)
def test_every_field_may_be_of_any_type(answer: dict[str, Any]) -> None:
    batch = parse_batch(answer)
    texts = (batch.status, batch.output_file_id, batch.model, *batch.metadata.values())
    assert all(text is None or text.encode() or True for text in texts)
    assert all(0 <= count <= 2**53 for count in (batch.total, batch.completed, batch.failed))
    assert json.dumps(batch.object)
    assert isinstance(files_missing(batch), bool)
    assert after_failed_validation(batch.errors) is not None
    assert all(error.message.encode() or True for error in batch.errors)


@pytest.mark.parametrize(
    "time", [1764288000, "1764288000", 1764288000.25, 1764288000250, "2025-11-28T00:00:00Z"]
)
def test_a_time_is_read_however_it_is_written(time: Any) -> None:
    found = parse_batch({"id": "batch_1", "created_at": time}).created_at
    assert found is not None
    assert found.replace(microsecond=0) == datetime(2025, 11, 28, tzinfo=UTC)


@pytest.mark.parametrize("time", ["soon", "", [], {}, True, float("nan"), 10**400, -(10**30)])
def test_a_time_that_is_none_is_no_time(time: Any) -> None:
    assert parse_batch({"id": "batch_1", "created_at": time}).created_at is None


Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda of: of | {"request_counts": None}, id="no counts"),
        pytest.param(lambda of: of | {"request_counts": {"completed": 10**300}}, id="a huge count"),
        pytest.param(lambda of: of | {"request_counts": [3, 2, 1]}, id="counts in a list"),
        pytest.param(lambda of: of | {"error_file_id": ""}, id="an empty file id"),
        pytest.param(lambda of: of | {"errors": ["\ud83d", None, 7]}, id="errors in a list"),
        pytest.param(lambda of: of | {"expires_at": "tomorrow", "created_at": "now"}, id="times"),
        pytest.param(lambda of: of | {"usage": "\ud83d", "model": ["m"]}, id="a usage in a word"),
        pytest.param(lambda of: of | {"metadata": ["\ud83d"]}, id="metadata in a list"),
        pytest.param(lambda of: of | {"status": f"{of['status']}\n".upper()}, id="a loud status"),
    ],
)
def test_a_journey_with_an_odd_batch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    retrieve = Sender.json

    def odd(sender: Sender, call: str, send: Any) -> dict[str, Any]:
        answer = retrieve(sender, call, send)
        return change(answer) if call == "batches.retrieve" else answer

    monkeypatch.setattr(Sender, "json", odd)

    @bench.task
    def body() -> str:
        return ask(client, "an odd batch")

    assert bench.run(body)
    assert bench.emulator.ledger()["batches_created"] == 1


def test_a_status_that_cannot_be_written_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an unknown word, and no more."""
    retrieve = Provider.retrieve
    words = ["\ud83d" * 1000, "", " "]

    def odd(provider: Provider, batch_id: str) -> ProviderBatch:
        found = retrieve(provider, batch_id)
        return parse_batch({"id": found.id, "status": words.pop()}) if words else found

    monkeypatch.setattr(Provider, "retrieve", odd)

    @bench.task
    def body() -> str:
        return ask(client, "an unknown status")

    assert bench.run(body)
    assert words == []
