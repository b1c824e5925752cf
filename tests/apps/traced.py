"""Tasks of an application that traces, or does not: TRACED says how, and SPANS where to.

``sdk`` sets a tracer provider, ``instrumented`` does so as docs/tracing.md says, and
the span processor of ``broken`` fails each time. ``unsampled`` samples no trace that begins with a
capture. With anything else there is no provider.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from celery import Task, signals
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task

#: In every prompt.
CANARY = "canary-4c81"
MODEL = "gpt-5.6-luna"

app = make_app("traced")
client = OpenAI(max_retries=0)

HOW = os.environ.get("TRACED", "")


def trace() -> None:
    """What an application does where it starts: its spans go to a file, one a line."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )
    from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult

    class Broken(SpanProcessor):
        def on_start(self, span: ReadableSpan, *_: Any, **__: Any) -> None:
            if span.name == "batchq.capture":
                raise RuntimeError("on_start")

        def on_end(self, *_: Any) -> None:
            raise RuntimeError("on_end")

    class NoCaptures(Sampler):
        """What begins with a capture is not sampled, what begins with anything else is."""

        def should_sample(
            self,
            parent_context: Any,  # noqa: ARG002 the SDK's, as the next
            trace_id: int,  # noqa: ARG002
            name: str,
            kind: Any = None,  # noqa: ARG002
            attributes: Any = None,
            *_: Any,
            **__: Any,
        ) -> SamplingResult:
            drops = name == "batchq.capture"
            return SamplingResult(
                Decision.DROP if drops else Decision.RECORD_AND_SAMPLE, attributes
            )

        def get_description(self) -> str:
            return "NoCaptures"

    def line(span: ReadableSpan) -> str:
        return f"{span.to_json(indent=None)}\n"

    file = Path(os.environ["SPANS"]).open("a")  # noqa: SIM115 as long as its process
    exporter = ConsoleSpanExporter(out=file, formatter=line)
    make: dict[str, Callable[[], SpanProcessor]] = {
        "sdk": lambda: SimpleSpanProcessor(exporter),
        "instrumented": lambda: BatchSpanProcessor(exporter, schedule_delay_millis=100),
        "unsampled": lambda: SimpleSpanProcessor(exporter),
        "broken": Broken,
    }
    provider = TracerProvider(sampler=ParentBased(NoCaptures()) if HOW == "unsampled" else None)
    provider.add_span_processor(make[HOW]())
    trace.set_tracer_provider(provider)


def trace_and_instrument(**_: Any) -> None:
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    trace()
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]


if HOW in {"sdk", "unsampled", "broken"}:
    trace()
elif HOW == "instrumented":
    signals.worker_process_init.connect(trace_and_instrument, weak=False)


class Down(Exception):
    """Says nothing about the answer."""


def answer(text: str) -> str:
    completion = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": f"{CANARY} {text}"}]
    )
    return completion.choices[0].message.content or ""


@app.task(bind=True)
@batched_llm_task
def ask(self: AnyTask, text: str) -> dict[str, Any]:
    """What its last run has seen."""
    answer(text)
    has = any(name.startswith("opentelemetry.") for name in sys.modules)
    return {"headers": self.request.headers, "has_opentelemetry": has}


@app.task
@batched_llm_task
def twice(text: str) -> int:
    return len(answer(f"{len(answer(text))} {text}"))


@app.task(bind=True, autoretry_for=(Exception,), max_retries=3, default_retry_delay=0)
@batched_llm_task
def fails_once(self: AnyTask, text: str, error: str) -> int:
    """Its error holds its prompt: ``down`` leaves the answer good, ``bad`` does not."""
    answer(text)
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as notes:
        if notes.incr(f"notes:{self.request.id}") == 1:
            raise Down(f"{CANARY} {text}") if error == "down" else ValueError(f"{CANARY} {text}")
    return 1


@app.task
@batched_llm_task
def own_span(text: str) -> int:
    from opentelemetry import trace

    with trace.get_tracer("own").start_as_current_span("own"):
        return len(answer(text))


@app.task
@batched_llm_task
def asks_nothing() -> int:
    return 1


@app.task
def sends(text: str) -> str:
    """A task that sends another, in a worker whose sending is instrumented."""
    return str(ask.apply_async((text,), queue="instrumented").id)
