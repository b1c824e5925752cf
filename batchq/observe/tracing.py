"""Spans of OpenTelemetry: a task's trace goes on across its wait.

    batchq.capture   a run that asks, from its claim to its park
    batchq.wait      from the questions to the run that has their answers
    batchq.resume    a run that has answers, to its end
    batchq.flush, batchq.poll, batchq.fetch   one step on one batch

docs/tracing.md has what they say. Nothing is imported here unless the process has imported it: who
sets a tracer provider has. Without one, a run costs a look into a dict. No span holds a word of a
prompt, an answer or an error.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from celery.exceptions import SoftTimeLimitExceeded, TaskPredicate

from batchq.errors import JournalUnreadable

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanContext, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from batchq.journal import BatchRecord, Claim, Journal, Waited
    from batchq.prompt import Prompt

__all__ = ["TracedRun", "step_failed", "trace_of_step", "traced_run", "traced_step"]

logger = logging.getLogger("batchq.tracing")

P = ParamSpec("P")
T = TypeVar("T")

_LINKS = 128
"""Tasks that the span of a flush links to: as many links as an SDK keeps, if it is told nothing."""

_BATCHES = 8
"""Batches of one wait that are looked up."""

_MILLISECOND = 1_000_000


# A run


class TracedRun:
    """One run of a body, while it is entered. This one leaves no span."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Whatever was raised goes on."""

    def ended(self, task_id: str, asked: Sequence[Prompt], error: BaseException | None) -> None:
        """The body has ended, and is about to wait where it has asked."""


_UNTRACED = TracedRun()


def traced_run(task: Any, claim: Claim, *, journal: Journal, token: str) -> TracedRun:
    """The span of a run that was claimed just now. It is current while it is entered, so the spans
    of the body hang below it.
    """
    tracer = _safely(None, _tracer)
    if tracer is None:
        return _UNTRACED
    made: TracedRun = _safely(_UNTRACED, _Spanned, tracer, task, claim, journal, token)
    return made


class _Spanned(TracedRun):
    __slots__ = ("_attached", "_claim", "_context", "_journal", "_keeps", "_span", "_token")

    def __init__(
        self, tracer: Tracer, task: Any, claim: Claim, journal: Journal, token: str
    ) -> None:
        from opentelemetry import trace

        kept = _read(claim.trace)
        if kept is not None and claim.waited is not None:
            _safely(None, _tell_wait, tracer, task, claim.waited, journal, kept)
        headers: dict[str, Any] = task.request.headers or {}
        parent, links = _place(_here(headers), kept)
        self._span = tracer.start_span(
            "batchq.resume" if _answers(claim) else "batchq.capture",
            context=parent,
            links=links,
            attributes=_of_task(task, task.request),
        )
        self._context = trace.set_span_in_context(self._span, parent)
        # That a run is not sampled is not written down where its message says so to all of them.
        self._keeps = self._span.is_recording() or not _named(headers).is_valid
        self._claim, self._journal, self._token = claim, journal, token
        self._attached: Any = None

    def __enter__(self) -> Self:
        from opentelemetry import context

        self._attached = context.attach(self._context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        from opentelemetry import context

        context.detach(self._attached)
        _safely(None, _end, self._span, error)

    def ended(self, task_id: str, asked: Sequence[Prompt], error: BaseException | None) -> None:
        _safely(None, self._say, task_id, asked, error)

    def _say(self, task_id: str, asked: Sequence[Prompt], error: BaseException | None) -> None:
        answers = _answers(self._claim)
        if asked:
            # Before the questions are out: whoever flushes them looks for it.
            self._keep(task_id)
            lanes = {prompt.lane.name: prompt.lane.model for prompt in asked}
            self._span.set_attributes({"batchq.prompts": len(asked), **_of_lanes(lanes)})
        elif error is not None:
            _fail(self._span, error)
        self._span.set_attribute("batchq.answers", answers)
        # What a run is shows at its end; at its start this was a guess.
        verb = "capture" if asked else "resume" if answers else "run"
        self._span.update_name(f"batchq.{verb}")

    def _keep(self, task_id: str) -> None:
        found = self._span.get_span_context()
        if self._keeps and found.is_valid:
            self._journal.runs.note_trace(task_id, token=self._token, trace=_write(found))


def _answers(claim: Claim) -> int:
    return sum(entry.outcome is not None for entry in claim.entries)


def _tell_wait(
    tracer: Tracer, task: Any, waited: Waited, journal: Journal, kept: SpanContext
) -> None:
    """The span of a wait that is over. Both its ends are of Redis's clock."""
    span = tracer.start_span(
        "batchq.wait",
        context=_with(kept),
        start_time=waited.asked_at * _MILLISECOND,
        attributes={
            **_of_task(task, task.request),
            "batchq.prompts": waited.prompts,
            "batchq.attempts": waited.attempts,
            **_of_lanes(waited.lanes),
        },
    )
    if span.is_recording():
        _tell_batches(span, waited.batches, journal)
        if waited.answered_at:
            span.add_event("batchq.answered", timestamp=waited.answered_at * _MILLISECOND)
        span.end(journal.clock.now() * _MILLISECOND)


def _tell_batches(span: Span, batch_ids: Sequence[str], journal: Journal) -> None:
    if not batch_ids:
        return
    records = [record for one in batch_ids[:_BATCHES] if (record := _batch(journal, one))]
    span.set_attribute("batchq.batches", batch_ids)
    span.set_attribute("batchq.provider_batches", [one.provider_id for one in records])
    for record in records:
        for word in ("sealed", "submitted", "finished"):
            if at := getattr(record, f"{word}_at"):
                span.add_event(f"batchq.{word}", {"batchq.batch": record.id}, at * _MILLISECOND)
        if (flushed := _read(record.trace)) is not None:
            span.add_link(flushed)


def _batch(journal: Journal, batch_id: str) -> BatchRecord | None:
    try:
        return journal.batches.get(batch_id)
    except JournalUnreadable:
        return None


# A step on a batch


@contextmanager
def traced_step(verb: str, journal: Journal, record: BatchRecord) -> Generator[None]:
    """Within it, a step on this batch is at work."""
    tracer = _safely(None, _tracer)
    span = None if tracer is None else _safely(None, _step, tracer, verb, journal, record)
    if span is None:
        yield
        return
    from opentelemetry import context, trace

    attached = context.attach(trace.set_span_in_context(span))
    try:
        yield
    except Exception as error:
        _safely(None, _fail, span, error)
        raise
    finally:
        context.detach(attached)
        _safely(None, _end_step, span, journal, record.id)


def step_failed(error: Exception) -> None:
    """The step that is at work has failed, and comes to its end in order all the same."""
    if _safely(None, _tracer) is not None:
        from opentelemetry import trace

        _safely(None, _fail, trace.get_current_span(), error)


def trace_of_step() -> str:
    """What a batch is to remember of the step that is at work; empty where nobody traces."""
    return "" if _safely(None, _tracer) is None else _safely("", _write, _span_context(None))


def _step(tracer: Tracer, verb: str, journal: Journal, record: BatchRecord) -> Span:
    from opentelemetry.trace import Link, SpanKind

    kept = _read(record.trace)
    parent, links = _place(_here({}), kept)
    if verb == "flush":
        tasks = map(_read, journal.lines.traces_in(record.id, at_most=_LINKS))
        links = [*links, *(Link(one) for one in tasks if one is not None)]
    return tracer.start_span(
        f"batchq.{verb}",
        context=parent,
        links=links,
        # The prompts of many tasks are taken on as one.
        kind=SpanKind.CONSUMER if verb == "flush" else SpanKind.INTERNAL,
        attributes={
            "batchq.batch": record.id,
            "messaging.batch.message_count": record.lines,
            **_of_lanes({record.lane.name: record.lane.model}),
        },
    )


def _end_step(span: Span, journal: Journal, batch_id: str) -> None:
    """Say where the batch is now."""
    if span.is_recording() and (record := _batch(journal, batch_id)) is not None:
        span.set_attribute("batchq.state", record.state)
        for name, value in (("provider_batch", record.provider_id), ("status", record.status)):
            if value:
                span.set_attribute(f"batchq.{name}", value)
        for name in ("completed", "failed", "answered", "asked_again"):
            if count := getattr(record, name):
                span.set_attribute(f"batchq.{name}", count)
    span.end()


# What spans say


def _of_task(task: Any, request: Any) -> dict[str, AttributeValue]:
    delivery: dict[str, Any] = request.delivery_info or {}
    said: dict[str, AttributeValue] = {
        "messaging.system": "celery",
        "messaging.message.id": request.id,
        # As Celery's own instrumentation calls it.
        "celery.task_name": task.name,
    }
    if routing_key := delivery.get("routing_key"):
        said["messaging.destination.name"] = str(routing_key)
    if request.retries:
        said["celery.retries"] = request.retries
    return said


def _of_lanes(models: Mapping[str, str]) -> dict[str, AttributeValue]:
    """Of lanes, by name, with their models. No other ``gen_ai`` attributes: by those, dashboards
    would count the call a second time that the SDK's own instrumentation has counted.
    """
    said: dict[str, AttributeValue] = {"batchq.lanes": sorted(models)}
    if len(found := set(models.values())) == 1:
        said["gen_ai.request.model"] = found.pop()
    return said


def _fail(span: Span, error: BaseException) -> None:
    """The class of an error only: its words may repeat a prompt."""
    from opentelemetry.trace import StatusCode

    if isinstance(error, TaskPredicate):
        return  # A retry, or a body's own Ignore or Reject.
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    span.set_attribute("error.type", f"{module}{kind.__qualname__}")
    span.set_status(StatusCode.ERROR)


def _end(span: Span, error: BaseException | None) -> None:
    if error is not None:
        _fail(span, error)
    span.end()


# Where in which trace


def _here(headers: dict[str, Any]) -> Context:
    """Where the caller is: in the span of this delivery, or in that which its message names."""
    from opentelemetry import context, propagate

    current = context.get_current()
    return current if _span_context(current).is_valid else propagate.extract(headers, current)


def _named(headers: dict[str, Any]) -> SpanContext:
    """The span that a message names."""
    from opentelemetry import context, propagate

    return _span_context(propagate.extract(headers, context.Context()))


def _place(here: Context, kept: SpanContext | None) -> tuple[Context, list[Link]]:
    """The parent of a span, and its links, where an earlier one of its story is kept.

    It stands where the caller is, and links to the earlier one. Where the caller is in another
    trace (a message that brought none begins one at each delivery), it is the other way round.
    """
    from opentelemetry.trace import Link

    around = _span_context(here)
    if kept is None:
        return here, []
    if around.trace_id == kept.trace_id:
        return here, [Link(kept)]
    return _with(kept, here), [Link(around)] if around.is_valid else []


def _span_context(context: Context | None) -> SpanContext:
    from opentelemetry import trace

    return trace.get_current_span(context).get_span_context()


def _with(span: SpanContext, context: Context | None = None) -> Context:
    from opentelemetry import trace
    from opentelemetry.context import Context

    around = Context() if context is None else context
    return trace.set_span_in_context(trace.NonRecordingSpan(span), around)


def _write(span: SpanContext) -> str:
    """A place in a trace as text: W3C's traceparent, and its tracestate if there is one."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, _with(span))
    return "\n".join(carrier[name] for name in _HEADERS if name in carrier)


def _read(text: str) -> SpanContext | None:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = dict(zip(_HEADERS, text.split("\n"), strict=False))
    found = _span_context(TraceContextTextMapPropagator().extract(carrier))
    return found if found.is_valid else None


_HEADERS = ("traceparent", "tracestate")


# Whether anybody listens


def _tracer() -> Tracer | None:
    """Ours of this process's provider; None where nobody has set one."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    global _made  # noqa: PLW0603 a provider makes one anew each time it is asked, and takes long
    if _made is None or _made[0] is not provider:
        _made = provider, provider.get_tracer("batchq", version("batchq"))
    return _made[1]


_made: tuple[TracerProvider, Tracer] | None = None


def _safely(otherwise: T, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``do`` returns. No task and no step fails for want of a span."""
    try:
        return do(*args, **kwargs)
    except (SoftTimeLimitExceeded, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 a span processor's, or Redis's, of any kind
        logger.warning(
            "a span could not be made (%s); the task or step goes on without it",
            type(error).__name__,
            extra={"action": "trace"},
        )
        return otherwise
