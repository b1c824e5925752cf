"""The names of what is measured. docs/metrics.md has the same table, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["LANE", "METRICS", "Metric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A name that is shown, with its labels and what it means."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    help: str


LANE = ("account", "endpoint", "model", "label")


def _gauge(name: str, help: str, *labels: str) -> Metric:  # noqa: A002 Prometheus calls it so
    return Metric(name=f"batchq_{name}", kind="gauge", labels=labels, help=help)


def _counter(name: str, help: str, *labels: str) -> Metric:  # noqa: A002 Prometheus calls it so
    return Metric(name=f"batchq_{name}_total", kind="counter", labels=labels, help=help)


METRICS: Mapping[str, Metric] = {
    metric.name.removeprefix("batchq_").removesuffix("_total"): metric
    for metric in (
        # Of all
        _gauge("up", "1 where the journal could be read, 0 where not; then there is nothing else"),
        _gauge("build_info", "1, with the release of Batchq that is asked", "version"),
        _gauge("read_seconds", "How long the last reading of the journal took"),
        _gauge("tasks", "Tasks that wait for answers, or have all and are on their way", "state"),
        _gauge(
            "overdue_tasks", "Waiting tasks that have waited longer than the settings allow for"
        ),
        _gauge("long_runs", "Bodies that have run for longer than batchq_long_run"),
        _gauge("dead", "Tasks and batches that are set aside and wait for a retry", "kind"),
        _gauge("beat_seen_timestamp_seconds", "When beat sent its last tick; 0 where it never did"),
        _gauge("stand_in", "1 while a worker sends the ticks of a beat that is away"),
        _counter("captured", "Prompts that were captured"),
        _counter("outcomes", "Prompts that got an answer or an error for good"),
        _counter("extra_batches", "Batches that were created once too often, and cancelled"),
        _counter(
            "rescued", "What rescue did: steps woken, tasks sent again, batches given up", "what"
        ),
        _counter("own_errors", "Errors in Batchq itself, of the last week", "what"),
        # Of a lane, now
        _gauge("prompts", "Prompts that wait in the lane, or are in open batches", "state", *LANE),
        _gauge("tokens", "Input tokens of these prompts, as estimated", "state", *LANE),
        _gauge("request_bytes", "Bytes of these prompts' requests", "state", *LANE),
        _gauge("oldest_prompt_age_seconds", "How long the lane's first prompt has waited", *LANE),
        _gauge(
            "lane_late_seconds",
            "How long it has been due while there was room at its provider",
            *LANE,
        ),
        _gauge("lane_held", "1 while an operator holds the lane", *LANE),
        _gauge("lane_without_room", "1 while the provider has no room for the lane", *LANE),
        _gauge("batches", "Open batches; status is the provider's word", "state", "status", *LANE),
        _gauge("oldest_batch_age_seconds", "Since its oldest batch was sealed", "state", *LANE),
        _gauge("batch_late_seconds", "How late its latest step is that nobody takes", *LANE),
        _gauge("account_paused", "1 while nothing of the account can be sent", "account"),
        _gauge(
            "token_limit",
            "Input tokens that may be queued at the provider, as set or learned",
            *("account", "model"),
        ),
        # Of a lane, since it was first flushed
        _counter("closed_batches", "Batches that are over; status is how", "status", *LANE),
        _counter("attempts", "Prompts in batches that ran and are over", *LANE),
        _counter("answered", "Rows with an answer", *LANE),
        _counter("failed", "Rows, or prompts of a refused batch, that failed", *LANE),
        _counter("errors", "The same by the code of the error", "code", *LANE),
        _counter("asked_again", "Prompts that went back to their lane", *LANE),
        Metric(
            name="batchq_batch_turnaround_seconds",
            kind="histogram",
            labels=LANE,
            help="From submission to end, of batches that were completed",
        ),
        _counter("input_tokens", "Input tokens that were used, cached ones included", *LANE),
        _counter("cached_input_tokens", "Input tokens that were read from the cache", *LANE),
        _counter("output_tokens", "Output tokens that were used", *LANE),
        _counter("cost_dollars", "What the batches cost", *LANE),
        _counter("live_cost_dollars", "What the same calls would have cost live", *LANE),
        _counter("saved_dollars", "Live cost less cost", *LANE),
        _counter("estimated_answers", "Answers whose price is a guess", *LANE),
        _counter("unpriced_answers", "Answers of unknown price, in no sum", *LANE),
    )
}
"""By their names without ``batchq_`` and ``_total``."""
