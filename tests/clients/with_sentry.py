"""Sentry, with the lines of docs/watchers.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from openai import OpenAI
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests.capture.bench import Bench, ask
from tests.clients.both import Both
from tests.clients.documented import lines_of


class Kept(Transport):
    """What would be sent, in the place of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            event = item.get_event() or item.get_transaction_event()
            if event is not None:
                self.events.append(event)

    @property
    def errors(self) -> list[Any]:
        return [event for event in self.events if event.get("type") != "transaction"]

    def statuses(self) -> list[tuple[str, str, str | None]]:
        return [
            (
                event["transaction"].rpartition(".")[2],
                event["contexts"]["trace"].get("status"),
                event.get("tags", {}).get("batchq"),
            )
            for event in self.events
            if event.get("type") == "transaction"
        ]


@pytest.fixture(scope="module")
def _documented() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTRY_DSN", "http://key@127.0.0.1:9/1")
        lines_of("Sentry")


@pytest.fixture
def kept(_documented: None) -> Iterator[Kept]:
    client = sentry_sdk.get_client()
    before, client.transport = client.transport, Kept()
    yield client.transport
    client.transport = before


def test_runs_that_ask(both: Both, kept: Kept) -> None:
    """runs that ask are `ok`, and no events"""
    journey = both.journey(_two_calls, "Bread is dear.")
    assert (journey.prompts, journey.rounds, journey.live) == (2, 2, 0)
    assert kept.errors == []
    name = _two_calls.__name__
    asked = (name, "ok", "asked")
    assert [each for each in kept.statuses() if each[0] == name] == [
        asked,
        asked,
        (name, "ok", None),
    ]


def _two_calls(text: str) -> str:
    client = OpenAI()
    return ask(client, f"Improve: {ask(client, text)}")


def test_an_error_of_the_body(both: Both, kept: Kept) -> None:
    """errors of the body are reported, once"""

    def body(text: str) -> str:
        raise ArithmeticError(ask(OpenAI(), text))

    with pytest.raises(AssertionError, match="ArithmeticError"):
        both.journey(body, "Bread is dear.")
    kinds = [each["type"] for event in kept.errors for each in event["exception"]["values"]]
    assert kinds == ["ArithmeticError"]


def test_ticks(bench: Bench, kept: Kept) -> None:
    """ticks are no transactions"""
    for tick in ("batchq.flush", "batchq.rescue"):
        bench.app.tasks[tick].apply_async(queue="celery")
    assert bench.deliver() == 2
    assert kept.statuses() == []
