"""Nothing in a provider's file can stop a fetch.

Half an emoji in one answer kept a whole batch waiting for ever, for it cannot be written as UTF-8;
max_tokens cuts one in two every day. Gateways write errors as if they were answers, and answers as
strings. Whatever a row holds, its neighbours get their answers, it has an outcome, the batch ends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI

from batchq.decide.fetch import verdict_on_row
from batchq.flow.bill import Bill
from batchq.journal import BatchRecord
from batchq.journal.records import error_code
from batchq.money.cost import PriceTable
from batchq.prompt import Outcome
from batchq.provider.client import Provider
from batchq.provider.rows import parse_row
from tests.capture.bench import Bench, ask
from tests.journals import LANE

client = OpenAI()

HALF = "bad \ud83d half"


def answered(row: dict[str, Any], text: str) -> dict[str, Any]:
    row["response"]["body"]["choices"][0]["message"]["content"] = text
    return row


def with_body(body: Any) -> Callable[[dict[str, Any]], Any]:
    def change(row: dict[str, Any]) -> Any:
        row["response"]["body"] = body(row) if callable(body) else body
        return row

    return change


def with_response(more: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row | {"response": row["response"] | more}


def error(code: Any, kind: str = "server_error") -> dict[str, Any]:
    return {"error": {"message": "It went wrong.", "type": kind, "param": None, "code": code}}


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[dict[str, Any]], Any]], None]:
    """What the provider's files really hold: each row about "the odd one" is changed, once.

    What comes of the change is written as JSON, or as it is if it is bytes.
    """

    def install(change: Callable[[dict[str, Any]], Any], *, always: bool = False) -> None:
        rows = Provider.rows
        done: list[str] = []

        def hostile(provider: Provider, file_id: str) -> Iterator[bytes]:
            for line in rows(provider, file_id):
                odd = b"the odd one" in line and (always or not done or done == [file_id])
                if odd:
                    done[:] = [file_id]
                    made = change(json.loads(line))
                    yield made if isinstance(made, bytes) else json.dumps(made).encode()
                else:
                    yield line

        monkeypatch.setattr(Provider, "rows", hostile)

    return install


def three(bench: Bench) -> list[Any]:
    """The odd one between two others, to their ends."""

    @bench.task
    def body(text: str) -> str:
        try:
            return ask(client, text)
        except openai.APIStatusError as error:
            return f"{type(error).__name__} {error.code}"

    sent = [bench.send(body, text) for text in ("before", "the odd one", "behind")]
    bench.deliver()
    for _ in range(5):
        bench.answer()
        bench.deliver()
    assert bench.journal.batches.open() == []
    assert [result.state for result in sent] == ["SUCCESS"] * 3
    assert not [at for at in (0, 2) if "Error" in sent[at].result]
    return sent


def test_half_an_emoji_is_the_answer_that_the_sdk_gets_live(
    bench: Bench, changed: Callable[..., None]
) -> None:
    seen: list[str] = []
    changed(lambda row: answered(row, HALF))

    @bench.task
    def body(text: str) -> int:
        seen.append(ask(client, text))
        return len(seen[-1])

    assert bench.run(body, "the odd one") == len(HALF)
    assert seen == [HALF]
    assert bench.emulator.ledger()["batches_created"] == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda row: answered(row, HALF), id="half an emoji"),
        pytest.param(lambda row: answered(row, "\x00\r\u2028\ufeff"), id="control characters"),
        pytest.param(lambda row: row | {"\ud800": "\udfff"}, id="half emojis beside it"),
        pytest.param(
            with_body(lambda row: json.dumps(row["response"]["body"])), id="a body in a string"
        ),
        pytest.param(
            with_body(lambda row: row["response"]["body"] | {"x": float("nan")}), id="NaN"
        ),
        pytest.param(
            with_response({"request_id": "\r\nX: \ud83d"}),
            id="a request id that is no header",
        ),
        pytest.param(lambda row: b"\xef\xbb\xbf" + json.dumps(row).encode() + b"\r", id="BOM, CR"),
        pytest.param(lambda row: row | {"filler": "x" * 30_000_000}, id="30 MB"),
        pytest.param(
            lambda row: json.dumps(row).encode()[:-1] + b', "n": ' + b"[" * 900 + b"]" * 900 + b"}",
            id="nesting of 900 beside it",
        ),
        pytest.param(
            lambda row: (
                json.dumps(row)[:-1].encode() + b', "custom_id": "%s"}' % row["custom_id"].encode()
            ),
            id="a key twice",
        ),
    ],
)
def test_an_odd_row_with_an_answer_is_that_answer(
    bench: Bench, changed: Callable[..., None], change: Callable[[dict[str, Any]], Any]
) -> None:
    changed(change)
    assert "Error" not in three(bench)[1].result
    assert bench.emulator.ledger()["batches_created"] == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(with_body(error("server_error")), id="an error of the server"),
        pytest.param(with_body(error("no such code")), id="an error nobody knows"),
        pytest.param(with_body({"error": "broken"}), id="an error in a word"),
        pytest.param(with_body(error(503)), id="a code that is a status"),
        pytest.param(with_body("no JSON"), id="a word"),
        pytest.param(with_body(["a list"]), id="a list"),
        pytest.param(with_body(7), id="a number"),
        pytest.param(with_body(None), id="nothing"),
        pytest.param(lambda row: row | {"response": "text"}, id="a response in a word"),
        pytest.param(with_response({"status_code": 999}), id="999"),
        pytest.param(with_response({"status_code": -1}), id="-1"),
        pytest.param(with_response({"status_code": 302}), id="302"),
        pytest.param(with_response({"status_code": [200]}), id="[200]"),
        pytest.param(lambda row: row | {"custom_id": "\ud800"}, id="another's custom id"),
        pytest.param(lambda row: row | {"custom_id": ["x"]}, id="a custom id in a list"),
        pytest.param(
            lambda row: json.dumps(row).encode()[:-1] + b', "n": ' + b"9" * 5_000 + b"}",
            id="a number of 5,000 digits",
        ),
        pytest.param(lambda _: b"[" * 100_000, id="nesting of 100,000"),
        pytest.param(lambda row: json.dumps(row).encode()[:-20], id="cut short"),
        pytest.param(lambda _: b"\x00" * 100, id="NUL"),
    ],
)
def test_an_odd_row_without_one_is_asked_again(
    bench: Bench, changed: Callable[..., None], change: Callable[[dict[str, Any]], Any]
) -> None:
    changed(change)
    assert "Error" not in three(bench)[1].result
    assert bench.emulator.ledger()["batches_created"] == 2


@pytest.mark.parametrize(
    ("given", "raised"),
    [
        (error("invalid_prompt", "invalid_request_error"), "BadRequestError invalid_prompt"),
        (error(None, "invalid_request_error"), "BadRequestError None"),
        (error("model_not_found"), "NotFoundError model_not_found"),
        (error("rate_limit_exceeded"), "RateLimitError rate_limit_exceeded"),
        (error("server_error"), "InternalServerError server_error"),
        (error("400"), "BadRequestError 400"),
    ],
)
def test_an_error_that_came_as_an_answer_is_that_error(
    bench: Bench, changed: Callable[..., None], given: dict[str, Any], raised: str
) -> None:
    """A body got a TypeError: 'NoneType' object is not subscriptable."""
    changed(with_body(given), always=True)
    assert three(bench)[1].result == raised


ODD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a custom id that is null": lambda row: row | {"custom_id": None},
    "a status that is true": with_response({"status_code": True}),
    "a custom id of a megabyte": lambda row: row | {"custom_id": "x" * 1_000_000, "error": "no"},
    "a body in a list": with_body(["x"]),
    "two rows in one": lambda row: json.dumps(row).encode() * 2,
    "another's answer": lambda row: answered(row, "It was answered twice."),
}


def test_many_odd_rows_in_one_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, between twice as many others, and in a file that ends in the middle of a row."""
    rows, read = Provider.rows, list[str]()
    kinds = iter(ODD.values())

    def hostile(provider: Provider, file_id: str) -> Iterator[bytes]:
        first = not read or file_id == read[0]
        read.append(file_id)
        for number, line in enumerate(rows(provider, file_id)):
            odd = number % 3 == 0 and first
            made = next(kinds, lambda row: row)(json.loads(line)) if odd else line
            yield made if isinstance(made, bytes) else json.dumps(made).encode()
            if odd:
                yield line[:-9]

    monkeypatch.setattr(Provider, "rows", hostile)

    @bench.task
    def body(number: int) -> str:
        return ask(client, f"question {number}")

    sent = [bench.send(body, number) for number in range(3 * len(ODD))]
    bench.deliver()
    for _ in range(4):
        bench.answer()
        bench.deliver()
    assert {result.state for result in sent} == {"SUCCESS"}
    assert bench.journal.batches.open() == []
    assert bench.emulator.ledger()["batches_created"] <= 2


def test_a_status_may_have_its_reason_with_it(bench: Bench, changed: Callable[..., None]) -> None:
    changed(with_response({"status_code": "200 OK"}))
    assert "Error" not in three(bench)[1].result
    assert bench.emulator.ledger()["batches_created"] == 1


def test_a_response_that_failed_is_the_body_s_to_look_at() -> None:
    """It has an error as well, live too, beside an output."""
    body = {
        "object": "response",
        "status": "failed",
        "output": [],
        "error": {"code": "server_error"},
    }
    line = json.dumps({"custom_id": "t-0", "response": {"status_code": 200, "body": body}})
    row = parse_row(line.encode())
    assert row is not None
    final, outcome = verdict_on_row(row)
    assert final
    assert (outcome.status_code, json.loads(outcome.body)) == (200, body)


# Whatever it is

_TEXT = st.text(st.characters(categories=None), max_size=8)  # surrogates too
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3)
)


def _one_of(*usual: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(usual) | _VALUES


_ERRORS = st.fixed_dictionaries(
    {}, optional={name: _one_of("server_error", "429") for name in ("code", "type", "message")}
)
_BODIES = st.fixed_dictionaries(
    {}, optional={"error": _ERRORS | _VALUES, "choices": _VALUES, "usage": _VALUES, "id": _VALUES}
)
_ROWS = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": _one_of("t-0"),
        "response": st.fixed_dictionaries(
            {},
            optional={
                "status_code": _one_of(200, 400, 429, 500, "200", 0),
                "request_id": _one_of("req_1"),
                "body": _BODIES | _VALUES,
            },
        )
        | _VALUES,
        "error": _ERRORS | _VALUES,
    },
)
_RECORD = BatchRecord(id="b", lane=LANE, state="finished", lines=1, bytes=1, tokens=1, sealed_at=1)


@settings(max_examples=500)
@given(row=_ROWS, cut=st.integers(0, 20) | st.none())
def test_every_row_has_an_outcome_that_can_be_kept_and_given(
    row: dict[str, Any], cut: int | None
) -> None:
    line = json.dumps(row).encode()
    parsed = parse_row(line if not cut else line[:-cut])
    if parsed is None:
        return  # It is counted as unreadable.
    final, outcome = verdict_on_row(parsed)
    assert Outcome.from_bytes(outcome.to_bytes()) == outcome
    assert isinstance(json.loads(outcome.body), object)
    assert outcome.request_id.isascii()
    assert 200 <= outcome.status_code < 600
    bill = Bill(_RECORD, PriceTable(own={}))
    if outcome.succeeded and final:
        assert isinstance(json.loads(outcome.body), dict)
        bill.answered(parsed)
    else:
        bill.failed(parsed.custom_id, outcome)
    assert error_code(outcome).encode()
    assert json.dumps(bill.fields()).encode()
    assert all(name.encode() for name in bill.tally(status="completed", asked_again=0))
