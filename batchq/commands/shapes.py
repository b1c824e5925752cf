"""What the commands print as JSON: docs/commands.md has the shapes, which stay as they are.

Times are ISO 8601 in UTC, durations seconds (``…_seconds``), money dollars (``…_usd``). What is not
known, or not yet, is null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchq.commands.cells import iso
from batchq.money.cost import Cost

if TYPE_CHECKING:
    from batchq.commands.checks import Check
    from batchq.decide.flush import NextFlush
    from batchq.journal import (
        AccountPause,
        BatchRecord,
        CallRecord,
        LaneRecord,
        Sums,
        TaskRecord,
    )
    from batchq.observe.diagnosis import Finding
    from batchq.prompt import Lane

__all__ = ["batch", "bill", "call", "finding", "lane", "pause", "sums", "task", "usd"]

Shape = dict[str, Any]


def usd(nanodollars: int) -> float:
    return nanodollars / 1_000_000_000


def _of_lane(of: Lane) -> Shape:
    return {
        "lane": of.name,
        "account": of.account,
        "endpoint": of.endpoint,
        "model": of.model,
        "label": of.label,
    }


def lane(record: LaneRecord, following: NextFlush) -> Shape:
    due_in = following.due_in
    return {
        **_of_lane(record.lane),
        "prompts": record.prompts,
        "bytes": record.bytes,
        "tokens": record.tokens,
        "oldest_seconds": record.oldest.total_seconds() if record.prompts else None,
        "held": record.held,
        "next_flush_seconds": None if due_in is None else due_in.total_seconds(),
        "next_flush_why": following.why,
    }


def pause(record: AccountPause) -> Shape:
    return {
        "account": record.account,
        "reason": record.reason,
        "code": record.code,
        "because": record.because,
        "met_in": record.met_in,
        "since": iso(record.since),
        "tries": record.tries,
        "next_try_seconds": None if record.probe else record.next_try.total_seconds(),
        "trying": record.probe or None,
    }


def bill(cost: Cost) -> Shape:
    """Money: ``unpriced`` answers are in none of the sums."""
    return {
        "cost_usd": usd(cost.batch),
        "live_cost_usd": usd(cost.live),
        "saved_usd": usd(cost.saved),
        "estimated": cost.estimated,
        "unpriced": cost.unpriced,
    }


def batch(record: BatchRecord) -> Shape:
    closed = record.state == "closed"
    took = record.turnaround
    return {
        "batch": record.id,
        "provider_id": record.provider_id or None,
        **_of_lane(record.lane),
        "state": record.state,
        "status": record.status or None,
        "prompts": record.lines,
        "bytes": record.bytes,
        "tokens": record.tokens,
        "completed": record.completed,
        "failed": record.failed,
        "answered": record.answered if closed else None,
        "asked_again": record.asked_again if closed else None,
        "input_tokens": record.input_tokens if closed else None,
        "cached_tokens": record.cached_tokens if closed else None,
        "output_tokens": record.output_tokens if closed else None,
        **(bill(Cost.of(record)) if closed else dict.fromkeys(bill(Cost()))),
        "errors": {
            code: {"prompts": count, "examples": record.examples.get(code, [])}
            for code, count in record.errors.items()
        },
        "tasks": record.task_names,
        "sealed_at": iso(record.sealed_at),
        "submitted_at": iso(record.submitted_at),
        "finished_at": iso(record.finished_at),
        "closed_at": iso(record.closed_at),
        "expires_at": iso(record.expires_at),
        "cancel_asked_at": iso(record.cancel_at),
        "dead_at": iso(record.dead_at),
        "turnaround_seconds": None if took is None else took.total_seconds(),
        "note": record.note or None,
    }


def call(record: CallRecord) -> Shape:
    answered = record.status_code is not None
    return {
        "number": record.number,
        **_of_lane(record.lane),
        "place": record.place,
        "asked_at": iso(record.asked_at),
        "attempts": record.attempts,
        "status_code": record.status_code,
        "code": record.code or None,
        "batch": record.batch or None,
        "answered_at": iso(record.answered_at),
        "input_tokens": record.input_tokens if answered else None,
        "cached_tokens": record.cached_tokens if answered else None,
        "output_tokens": record.output_tokens if answered else None,
        "cost_usd": usd(record.cost) if answered else None,
        "live_cost_usd": usd(record.live_cost) if answered else None,
    }


def task(record: TaskRecord, state: str | None) -> Shape:
    return {
        "task": record.id,
        "name": record.name or None,
        "state": state,
        "done": record.done or None,
        "waiting": record.waiting,
        "running": record.running,
        "revoked": record.revoked,
        "dead": record.dead,
        "retries": record.retries,
        "crashes": record.crashes,
        "calls": [call(one) for one in record.calls],
    }


def sums(of: Sums) -> Shape:
    return {
        "batches": of.batches,
        "prompts": of.prompts,
        "failed": of.failed,
        "asked_again": of.asked_again,
        "input_tokens": of.input_tokens,
        "cached_tokens": of.cached_tokens,
        "output_tokens": of.output_tokens,
        **bill(Cost.of(of)),
    }


def finding(found: Finding | Check) -> Shape:
    return {
        "about": found.about,
        "level": found.level,
        "what": found.what,
        "do": found.do or None,
        "since": iso(found.since),
    }
