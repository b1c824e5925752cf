"""Rules of what a prompt is on a batch line and in the journal."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchq.prompt import (
    Lane,
    Outcome,
    Prompt,
    custom_id,
    fingerprint,
    line,
    pack,
    split_id,
    unpack,
)

# A lone surrogate is no text: the SDK cannot send it either.
text = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u2028\u2029\x85\n\r\x00")
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(text, values, max_size=6)
task_ids = st.uuids().map(str) | st.text("abc-_0123456789", min_size=1, max_size=30)


def as_captured(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


@given(task_ids, st.integers(0, 10**6), bodies)
def test_a_line_holds_what_was_asked_and_nothing_else(
    task_id: str, number: int, body: dict[str, Any]
) -> None:
    """U+2028 and its like end a line for some readers, but not for a reader of JSONL."""
    written = line(custom_id(task_id, number), "/v1/responses", as_captured(body))
    assert written.count(b"\n") == 1
    assert written.endswith(b"\n")
    assert json.loads(written) == {
        "custom_id": f"{task_id}-{number}",
        "method": "POST",
        "url": "/v1/responses",
        "body": body,
    }


@given(bodies)
def test_the_size_of_a_prompt_is_that_of_its_line(body: dict[str, Any]) -> None:
    lane = Lane(account="default", endpoint="/v1/responses", model="m")
    prompt = Prompt(
        task_id="t",
        number=3,
        lane=lane,
        body=as_captured(body),
        fingerprint="",
        tokens=1,
        inputs=0,
        round=0,
    )
    assert prompt.size == len(line(prompt.custom_id, "/v1/responses", prompt.body))


@given(task_ids, st.integers(0, 10**9))
def test_an_id_is_split_where_it_was_joined(task_id: str, number: int) -> None:
    assert split_id(custom_id(task_id, number)) == (task_id, number)


@given(st.text())
def test_what_is_not_an_id_of_ours_is_none_or_joins_again(given_id: str) -> None:
    parts = split_id(given_id)
    if parts is not None:
        task_id, number = parts
        assert given_id.startswith(f"{task_id}-")
        assert int(given_id[len(task_id) + 1 :]) == number


def test_digits_of_other_scripts_are_no_number() -> None:
    assert split_id("task-²") is None
    assert split_id("task-٣") is None
    assert split_id("task-") is None
    assert split_id("task") is None


@given(text, text, text, text)
def test_a_lane_is_its_name(account: str, endpoint: str, model: str, label: str) -> None:
    lane = Lane(account=account, endpoint=endpoint, model=model, label=label)
    assert Lane.from_name(lane.name) == lane
    assert "\n" not in lane.name


@given(st.binary(max_size=3000))
def test_what_is_packed_unpacks(data: bytes) -> None:
    assert unpack(pack(data)) == data
    assert len(pack(data)) <= len(data) + 20


@given(st.integers(0, 599), st.binary(), st.text(st.characters(exclude_categories=["Cs"])))
def test_an_outcome_is_kept_whole(status_code: int, body: bytes, request_id: str) -> None:
    outcome = Outcome(status_code=status_code, body=body, request_id=request_id)
    assert Outcome.from_bytes(outcome.to_bytes()) == outcome


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(bodies)
def test_a_fingerprint_does_not_see_the_order_of_keys(body: dict[str, Any]) -> None:
    assert fingerprint("/v1/responses", body) == fingerprint("/v1/responses", shuffled(body))
    assert fingerprint("/v1/responses", body) != fingerprint("/v1/embeddings", body)


@given(bodies, bodies)
def test_requests_that_differ_have_other_fingerprints(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    same_text = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint("e", one) == fingerprint("e", other)) == same_text
