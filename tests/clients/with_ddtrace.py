"""Datadog's tracer, with the lines of docs/watchers.md."""

from __future__ import annotations

import os

# Before it is imported: there is no agent to send to.
os.environ |= {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "0",
}

from typing import Any

import ddtrace
import pytest
from ddtrace.trace import TraceFilter, tracer
from openai import OpenAI

from tests.capture.bench import Bench, ask
from tests.clients.both import Both
from tests.clients.documented import lines_of


class Kept(TraceFilter):
    """What would be sent, in the place of the agent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def process_trace(self, trace: list[Any]) -> None:
        self.spans += trace


@pytest.fixture(scope="module", autouse=True)
def _patched() -> None:
    ddtrace.patch(celery=True, openai=True)


@pytest.fixture
def kept() -> Kept:
    kept = Kept()
    tracer.configure(trace_processors=[lines_of("Datadog")["Batchq"](), kept])
    return kept


def test_runs_that_ask(both: Both, kept: Kept) -> None:
    """runs that ask are no errors"""

    def body(text: str) -> str:
        return ask(OpenAI(), text)

    journey = both.journey(body, "Bread is dear.")
    assert (journey.prompts, journey.rounds, journey.live) == (1, 1, 0)
    runs = [span for span in kept.spans if span.name == "celery.run"]
    calls = [span for span in kept.spans if span.resource == "createChatCompletion"]
    assert (len(runs), len(calls)) == (2, 2)
    assert [span.error for span in runs + calls] == [0, 0, 0, 0]
    assert [span.get_tag("batchq") for span in calls] == ["asked", None]


def test_ticks(bench: Bench, kept: Kept) -> None:
    """ticks are dropped"""
    for tick in ("batchq.flush", "batchq.rescue"):
        bench.app.tasks[tick].apply_async(queue="celery")
    assert bench.deliver() == 2
    assert [span for span in kept.spans if span.name == "celery.run"] == []
