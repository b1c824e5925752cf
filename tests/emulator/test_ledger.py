"""The ledger: what ran, how often, and what it cost."""

import pytest

from tests.emulator.support import MODEL, Desk, chat_body, line, lines


def test_a_line_is_billed_once(api: Desk) -> None:
    done = api.run(lines(20))
    ledger = api.emulator.ledger()
    assert api.billed() == {f"line-{number}": 1 for number in range(20)}
    assert ledger["duplicates"] == {}
    assert done.usage is not None
    total = ledger["totals"]["batch"]
    assert (total["ok"], total["failed"]) == (20, 0)
    assert total["input_tokens"] == done.usage.input_tokens
    assert total["output_tokens"] == done.usage.output_tokens
    assert sum(bill["input_tokens"] for bill in ledger["lines"].values()) == total["input_tokens"]


def test_a_line_that_is_asked_twice_is_a_duplicate(api: Desk) -> None:
    api.run(lines(3))
    api.run([line("line-1")])
    assert api.emulator.ledger(summary=True)["duplicates"] == {"line-1": 2}


def test_a_failed_line_costs_nothing(api: Desk) -> None:
    api.emulator.fault("all_lines_fail")
    api.run(lines(3))
    total = api.emulator.ledger()["totals"]["batch"]
    assert (total["ok"], total["failed"], total["cost_usd"]) == (0, 3, 0)


def test_a_batch_costs_half_of_the_same_calls_live(api: Desk) -> None:
    body = chat_body("Summarise: The sea is wide.")
    api.run([line("a", body)])
    api.client.post("/chat/completions", body=body, cast_to=object)
    ledger = api.emulator.ledger()
    bills = ledger["models"][MODEL]
    assert bills["live"]["input_tokens"] == bills["batch"]["input_tokens"] > 0
    expected = (
        0.20 * bills["live"]["input_tokens"] + 1.20 * bills["live"]["output_tokens"]
    ) / 1_000_000
    assert bills["live"]["cost_usd"] == pytest.approx(expected)
    assert bills["batch"]["cost_usd"] == pytest.approx(expected / 2)
    assert ledger["live_calls"] == 1
    assert ledger["unpriced_models"] == []


def test_a_model_without_a_price_is_named(api: Desk) -> None:
    api.run([line("a", chat_body("x") | {"model": "my-own"})])
    assert api.emulator.ledger()["unpriced_models"] == ["my-own"]


def test_uploads_and_batches_are_counted(api: Desk) -> None:
    file = api.upload(lines(2))
    batch = api.finish(api.create(file.id, metadata={"key": "value"}))
    ledger = api.emulator.ledger(summary=True)
    assert (ledger["uploads"], ledger["batches_created"]) == (1, 1)
    (shown,) = ledger["batches"]
    assert shown["id"] == batch.id
    assert shown["metadata"] == {"key": "value"}
    assert (shown["lines"], shown["ran"], shown["status"]) == (2, 2, "completed")


def test_a_summary_is_small_however_many_lines_ran(api: Desk) -> None:
    done = api.run(lines(2000))
    assert done.request_counts is not None
    assert done.request_counts.completed == 2000
    assert len(set(api.ids(done.output_file_id))) == 2000
    summary = api.emulator.ledger(summary=True)
    assert "lines" not in summary
    assert summary["lines_known"] == 2000


def test_reset_makes_everything_new(api: Desk) -> None:
    api.run(lines(1))
    api.emulator.fault("list_500")
    api.emulator.advance(1000)
    api.emulator.reset()
    ledger = api.emulator.ledger()
    assert ledger["lines"] == {}
    assert ledger["batches"] == []
    assert ledger["uploads"] == 0
    assert api.client.batches.list().data == []
    assert api.client.files.list().data == []
