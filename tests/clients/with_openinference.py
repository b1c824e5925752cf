"""OpenInference, and Celery's instrumentation, with the lines of docs/watchers.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.capture.bench import Bench, ask
from tests.clients.both import Both
from tests.clients.documented import lines_of

HEADING = "OpenTelemetry and OpenInference"


@pytest.fixture(scope="module")
def _exporter() -> Iterator[InMemorySpanExporter]:
    names, exporter = lines_of(HEADING), InMemorySpanExporter()
    provider = TracerProvider(sampler=names["sampler"])
    provider.add_span_processor(SimpleSpanProcessor(names["WithoutCaptures"](exporter)))
    trace.set_tracer_provider(provider)
    celery: Any = CeleryInstrumentor
    celery().instrument()
    OpenAIInstrumentor().instrument()
    yield exporter
    OpenAIInstrumentor().uninstrument()
    celery().uninstrument()


@pytest.fixture
def exporter(_exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    _exporter.clear()
    return _exporter


def _calls(exporter: InMemorySpanExporter) -> list[Any]:
    # Batchq's own, of files and batches, have spans as well.
    return [each for each in exporter.get_finished_spans() if each.name == "ChatCompletion"]


def test_runs_that_ask(both: Both, exporter: InMemorySpanExporter) -> None:
    """runs that ask are no errors, a replay stands below `batchq.resume`"""

    def body(text: str) -> str:
        return ask(OpenAI(), text)

    journey = both.journey(body, "Bread is dear.")
    assert (journey.prompts, journey.rounds, journey.live) == (1, 1, 0)
    (call,) = _calls(exporter)
    spans = {span.context.span_id: span for span in exporter.get_finished_spans()}
    assert spans[call.parent.span_id].name == "batchq.resume"
    assert not [each for each in spans.values() if each.status.status_code.name == "ERROR"]


def test_ticks(bench: Bench, exporter: InMemorySpanExporter) -> None:
    """ticks are dropped"""
    for tick in ("batchq.flush", "batchq.rescue"):
        bench.app.tasks[tick].apply_async(queue="celery")
    assert bench.deliver() == 2
    assert [span.name for span in exporter.get_finished_spans()] == []
