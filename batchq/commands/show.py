"""`show`: one task, one prompt or one batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import click

from batchq.commands import shapes
from batchq.commands.cells import iso
from batchq.commands.find import Prompt, find
from batchq.commands.terminal import Exit, Terminal, command
from batchq.common.seams.results import result_keys
from batchq.common.words import dollars, span
from batchq.journal import BatchRecord, CallRecord, Journal, TaskRecord, journal_of
from batchq.money.cost import Cost
from batchq.prompt import custom_id
from batchq.settings.config import settings

__all__ = ["show"]


@command()
@click.argument("id_", metavar="ID")
@click.option("--text", is_flag=True, help="Show what was asked and answered, where that may be.")
def show(to: Terminal, id_: str, *, text: bool) -> Exit:
    """One task, prompt or batch.

    A prompt by its custom id, a batch by our id or the provider's.

    The text of prompts and answers is shown only with --text, and only where the setting
    batchq_show_prompts allows it.
    """
    if text and not settings(to.app).show_prompts:
        raise click.UsageError("--text needs the setting batchq_show_prompts, which is off")
    journal = journal_of(to.app)
    found = find(journal, id_)
    match found:
        case BatchRecord():
            if text:
                raise click.UsageError(f"--text shows a task or a prompt, and {id_!r} is a batch")
            _batch(to, journal, found)
        case TaskRecord():
            _task(to, journal, found, found.calls, text=text)
        case Prompt():
            _task(to, journal, found.task, (found.call,), text=text)
    return Exit.FINE


# A task, or one prompt of it


def _task(
    to: Terminal, journal: Journal, task: TaskRecord, calls: tuple[CallRecord, ...], *, text: bool
) -> None:
    state = _state(to.app, task.id)
    if to.as_json:
        shape = shapes.task(task, state)
        shape["calls"] = [
            shapes.call(one) | (_texts(journal, task, one) if text else {}) for one in calls
        ]
        to.give(shape)
        return
    to.fields(_fields_of_task(task, state))
    if calls:
        to.say()
        to.show(
            [
                "PROMPT",
                "LANE",
                "PLACE",
                "ASKED (UTC)",
                ">FAILED BEFORE",
                "ANSWER",
                ">TOKENS",
                ">COST",
            ],
            (_row(task, one) for one in calls),
        )
    for one in calls if text else ():
        _say_texts(to, journal, task, one)


def _state(app: Any, task_id: str) -> str | None:
    """Celery's own word; None where it keeps none, or cannot be asked."""
    keys = result_keys(app)
    try:
        return None if keys is None else keys.states([task_id]).get(task_id)
    except Exception:  # noqa: BLE001 each backend has its own errors, and the journal has the rest
        return None


def _fields_of_task(task: TaskRecord, state: str | None) -> Iterator[tuple[str, object]]:
    yield "task", task.id
    yield "name", task.name
    yield "state", state
    for name in ("running", "revoked", "dead"):
        yield name, True if getattr(task, name) else None
    yield "waits for", f"{task.waiting:,} of {len(task.calls):,} prompts" if task.waiting else None
    yield "retries", task.retries or None
    yield "killed its worker", f"{task.crashes} times" if task.crashes else None


def _row(task: TaskRecord, call: CallRecord) -> list[object]:
    answered = call.status_code is not None
    answer = " ".join(filter(None, [str(call.status_code), call.code])) if answered else None
    place = f"answered by {call.batch}" if call.batch else call.place
    return [
        custom_id(task.id, call.number),
        call.lane.name,
        place,
        iso(call.asked_at),
        call.attempts,
        answer,
        call.input_tokens + call.output_tokens if answered else None,
        dollars(call.cost) if answered else None,
    ]


def _texts(journal: Journal, task: TaskRecord, call: CallRecord) -> dict[str, Any]:
    name = custom_id(task.id, call.number)
    outcome = journal.views.outcome(name)
    return {
        "question": _read(journal.views.question(name)),
        "answer": None if outcome is None else _read(outcome.body),
    }


def _read(body: bytes | None) -> Any:
    try:
        return None if body is None else json.loads(body)
    except ValueError:
        return body.decode(errors="replace") if body else None


def _say_texts(to: Terminal, journal: Journal, task: TaskRecord, call: CallRecord) -> None:
    for what, content in _texts(journal, task, call).items():
        to.say(f"\n{what} of {custom_id(task.id, call.number)}:")
        # As JSON, in which nothing steers a terminal.
        kept = (
            "it is not kept any more" if what == "question" else "there is none, or none any more"
        )
        to.say(kept if content is None else json.dumps(content, indent=2, ensure_ascii=True))


# A batch


def _batch(to: Terminal, journal: Journal, batch: BatchRecord) -> None:
    if to.as_json:
        to.give({**shapes.batch(batch), "object": journal.batches.object_of(batch.id)})
        return
    to.fields(_fields_of_batch(batch))
    to.say()
    _timeline(to, batch, journal.clock.now())
    if batch.errors:
        to.say()
        rows = (
            [code, count, ", ".join(batch.examples.get(code, []))]
            for code, count in batch.errors.items()
        )
        to.show(["ERROR", ">PROMPTS", "SUCH AS"], rows)
    if batch.task_names:
        to.say()
        to.show(["TASK", ">PROMPTS"], batch.task_names.items())


def _fields_of_batch(batch: BatchRecord) -> Iterator[tuple[str, object]]:
    yield "batch", batch.id
    yield "provider's id", batch.provider_id
    yield "lane", batch.lane.name
    yield "state", batch.state
    yield "status", batch.status
    yield "prompts", batch.lines
    yield "done", f"{batch.completed:,} completed, {batch.failed:,} failed"
    yield "note", batch.note
    if batch.state != "closed":
        yield "tokens", f"about {batch.tokens:,} to read"
        return
    yield "answered", batch.answered
    yield "asked again", batch.asked_again or None
    yield (
        "tokens",
        (
            f"{batch.input_tokens:,} in ({batch.cached_tokens:,} cached), "
            f"{batch.output_tokens:,} out"
        ),
    )
    bill = Cost.of(batch)
    yield "cost", f"{bill.shown}, live {bill.shown_live}, saved {bill.shown_saved}"


def _timeline(to: Terminal, batch: BatchRecord, now: int) -> None:
    steps = [
        ("sealed", batch.sealed_at),
        ("upload begun", batch.upload_intent_at),
        ("create begun", batch.create_intent_at),
        ("submitted", batch.submitted_at),
        ("cancel asked for", batch.cancel_at),
        ("set aside", batch.dead_at),
        ("finished", batch.finished_at),
        ("closed", batch.closed_at),
    ]
    reached = sorted((at, step) for step, at in steps if at)
    rows: list[list[object]] = []
    for (at, step), (before, _) in zip(reached, [reached[0], *reached], strict=False):
        rows.append([step, iso(at), f"+{span(timedelta(milliseconds=at - before))}"])
    to.show(["STEP", "AT", ">AFTER"], rows)
    if batch.state != "closed":
        to.say(f"open for {span(timedelta(milliseconds=now - batch.sealed_at))}")
