"""A batch most of whose rows cannot be used is set aside before anything of it is paid for again.

A server that left out every `custom_id` had 100,000 prompts count as missing: all of them were
asked, and paid for, up to three times.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import openai
import pytest
from openai import OpenAI

import batchq
from batchq.flow.fetch import fetch
from batchq.flow.rescue import rescue
from batchq.provider.client import Provider
from tests.capture.bench import Bench, ask
from tests.cases.test_hostile_rows import with_body, with_response

client = OpenAI()

Change = Callable[[dict[str, Any]], Any]
TEXTS = ("one", "two", "three", "four", "five")


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, Change]:
    """What the provider's files really hold of the tasks with one of these words in their ids."""
    changes: dict[str, Change] = {}
    rows = Provider.rows

    def hostile(provider: Provider, file_id: str) -> Iterator[bytes]:
        for line in rows(provider, file_id):
            change = next((changes[word] for word in changes if word.encode() in line), None)
            made = line if change is None else change(json.loads(line))
            yield made if isinstance(made, bytes) else json.dumps(made).encode()

    monkeypatch.setattr(Provider, "rows", hostile)
    return changes


@pytest.fixture
def body(bench: Bench) -> Any:
    @bench.task
    def body(text: str) -> str:
        try:
            return ask(client, f"text {text}")
        except openai.APIStatusError as error:
            return f"{type(error).__name__} {error.code}"

    return body


def sent(bench: Bench, body: Any, *, readings: int = 3) -> list[Any]:
    """Five tasks whose batch was read as often as it is by itself."""
    results = [bench.send(body, text, task_id=f"text {text}") for text in TEXTS]
    bench.deliver()
    for _ in range(readings):
        bench.answer()
        bench.deliver()
    return results


def without(name: str) -> Change:
    return lambda row: {key: value for key, value in row.items() if key != name}


def batches(bench: Bench) -> int:
    created: int = bench.emulator.ledger()["batches_created"]
    return created


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(without("custom_id"), id="no custom id"),
        pytest.param(lambda row: row | {"custom_id": None}, id="a custom id that is null"),
        pytest.param(lambda row: row | {"custom_id": 7}, id="a custom id that is a number"),
        pytest.param(lambda row: row | {"custom_id": [row["custom_id"]]}, id="one in a list"),
        pytest.param(lambda row: row | {"custom_id": f"x{row['custom_id']}"}, id="unknown ids"),
        pytest.param(lambda row: row | {"custom_id": "\ud800"}, id="half an emoji"),
        pytest.param(lambda row: json.dumps(row).encode()[:-9], id="cut short"),
        pytest.param(with_body("no JSON"), id="answers that are words"),
        pytest.param(without("response"), id="nothing said"),
        pytest.param(with_response({"status_code": "fine"}), id="a status that is none"),
    ],
)
def test_nothing_is_paid_for_again(
    bench: Bench, body: Any, files: dict[str, Change], change: Change
) -> None:
    files["text"] = change
    results = sent(bench, body)
    assert batches(bench) == 1
    assert bench.waiting() == 0
    (one,) = batchq.dead(bench.app)
    assert one.kind == "batch"
    assert "set aside: 5 rows of its files are of no use" in one.reason
    assert batchq.status(bench.app).dead == 1
    assert {result.state for result in results} == {"BATCHED"}

    # The provider has mended it: the files are read again.
    files.clear()
    assert batchq.retry(bench.app, one.id)
    bench.answer()
    bench.deliver()
    assert {result.state for result in results} == {"SUCCESS"}
    assert batches(bench) == 1
    assert batchq.dead(bench.app) == []


def test_it_is_told(bench: Bench, body: Any, files: dict[str, Change]) -> None:
    files["text"] = without("custom_id")
    told: list[str] = []

    def receive(event: Any, **_: Any) -> None:
        told.append(str(event))

    batchq.signals.batch_set_aside.connect(receive, sender=bench.app)
    sent(bench, body)
    (one,) = batchq.dead(bench.app)
    (words,) = told
    assert words.startswith(f"batch {one.id} of lane {one.name} is set aside: 5 rows")
    assert f"batchq.retry(app, '{one.id}')" in words


def test_what_is_of_use_is_answered(bench: Bench, body: Any, files: dict[str, Change]) -> None:
    files |= dict.fromkeys(("text one", "text two", "text three"), without("custom_id"))
    files["text four"] = with_response({"status_code": 400})
    results = sent(bench, body)
    assert [result.state for result in results] == [*["BATCHED"] * 3, *["SUCCESS"] * 2]
    assert results[3].result.startswith("BadRequestError")
    (one,) = batchq.dead(bench.app)
    assert "3 of its 5 prompts have no other" in one.reason


def test_an_operator_may_give_the_rest_up(
    bench: Bench, body: Any, files: dict[str, Change]
) -> None:
    files["text"] = without("custom_id")
    results = sent(bench, body)
    (one,) = batchq.dead(bench.app)
    assert batchq.retry(bench.app, one.id, ask_again=True)
    fetch(bench.app, one.id)
    assert bench.waiting() == 5
    files.clear()
    bench.answer()
    bench.deliver()
    assert {result.state for result in results} == {"SUCCESS"}
    assert batches(bench) == 2


def test_it_is_set_aside_again_where_nothing_has_changed(
    bench: Bench, body: Any, files: dict[str, Change]
) -> None:
    files["text"] = without("custom_id")
    sent(bench, body)
    (one,) = batchq.dead(bench.app)
    assert batchq.retry(bench.app, one.id)
    for _ in range(3):
        bench.answer()
    assert [dead.id for dead in batchq.dead(bench.app)] == [one.id]
    assert batches(bench) == 1


def test_fewer_than_half_are_asked_again(bench: Bench, body: Any, files: dict[str, Change]) -> None:
    files["text one"] = without("custom_id")
    results = sent(bench, body, readings=9)
    assert batchq.dead(bench.app) == []
    assert batches(bench) == 3, "it has its three attempts"
    assert [result.state for result in results] == ["SUCCESS"] * 5
    assert results[0].result == "InternalServerError not_answered"


def test_errors_are_of_use(bench: Bench, body: Any, files: dict[str, Change]) -> None:
    """A provider that fails all prompts has said so: they have their three attempts."""
    files["text"] = with_response({"status_code": 500})
    assert {result.state for result in sent(bench, body)} == {"SUCCESS"}
    assert batches(bench) == 3


def test_nobody_waits_for_ever(bench: Bench, body: Any, files: dict[str, Change]) -> None:
    files["text"] = without("custom_id")
    results = sent(bench, body)
    (one,) = batchq.dead(bench.app)
    bench.journal.clock.advance(timedelta(hours=27))
    rescue(bench.app)
    bench.deliver()
    assert {result.result for result in results} == {"InternalServerError rows_unusable"}
    assert batchq.dead(bench.app) == []
    assert bench.journal.batches.get(one.id).state == "closed"  # type: ignore[union-attr]
