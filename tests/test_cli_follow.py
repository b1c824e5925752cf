"""The commands that go on until they are told to end: `tail` and `webhook`."""

from __future__ import annotations

import json
import re
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchq.events import BatchFailed, BudgetNear, OtherEvent, TasksRescued
from batchq.flow.flush import flush
from batchq.journal import journal_of
from batchq.observe import emit
from tests.apps.base import make_app
from tests.commands import Commands
from tests.harness import Emulator, Server, Stack
from tests.journals import LANE, capture, chat
from tests.test_flow import Steps
from tests.test_webhook_server import Client
from tests.webhooks import SECRET, event

AT = datetime(2026, 11, 22, 12, 30, 5, tzinfo=UTC)


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Steps:
    return Steps(server, emulator, make_app("tail", batchq_poll_first=0.05))


def lines(cli: Commands, *words: str) -> list[dict[str, Any]]:
    text = cli.out("tail", "--no-follow", "--json", *words)
    return [json.loads(line) for line in text.splitlines()]


def test_what_happened_is_told(steps: Steps) -> None:
    cli = Commands(steps.app)
    assert lines(cli) == []
    asked = capture(steps.journal, chat("the text of a prompt"))
    batch = steps.submitted()
    steps.until_over()
    told = lines(cli)
    kinds = [one["kind"] for one in told]
    assert kinds[:2] == ["batch_sealed", "batch_submitted"]
    assert kinds[-1] == "batch_finished"
    assert {one["batch"] for one in told} == {batch.id}
    last = told[-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", last["at"])
    assert (last["answered"], last["lane"]) == (1, LANE.name)
    assert last["took_seconds"] >= 0
    assert last["cost_usd"] >= 0
    shown = cli.out("tail", "--no-follow").splitlines()
    assert len(shown) == len(told)
    assert f"batch_finished   batch {batch.id} of lane" in shown[-1]
    assert "text of a prompt" not in "\n".join(shown)
    assert asked.task_id not in "\n".join(shown)


def test_events_are_filtered(steps: Steps) -> None:
    cli = Commands(steps.app)
    for number in range(3):
        emit.tell(steps.app, TasksRescued(at=AT, tasks=number))
    failed = BatchFailed(
        at=AT,
        batch="b1",
        lane=LANE.name,
        prompts=2,
        provider_id="batch_1",
        took=timedelta(minutes=2),
        reason="expired",
        cost=1_000_000,
    )
    emit.tell(steps.app, failed)
    budget = BudgetNear(at=AT, day="2026-11-22", percent=80, spent=8, under_way=0, budget=10**9)
    emit.tell(steps.app, budget)
    assert len(lines(cli)) == 5
    assert [one["kind"] for one in lines(cli, "--last", "2")] == ["batch_failed", "budget_near"]
    assert lines(cli, "--last", "0") == []
    (one,) = lines(cli, "--batch", "b1")
    assert (one["took_seconds"], one["cost_usd"], one["reason"]) == (120, 0.001, "expired")
    assert lines(cli, "--lane", "luna") == [one]
    assert [one["tasks"] for one in lines(cli, "--kind", "tasks_rescued", "-n", "2")] == [1, 2]
    assert [one["budget_usd"] for one in lines(cli, "--kind", "budget_near")] == [1]


def test_an_event_of_a_newer_release_is_told_too(steps: Steps) -> None:
    steps.journal.events.note(OtherEvent(at=AT, name="new", fields={"a": "\x1b[2J"}))
    cli = Commands(steps.app)
    (one,) = lines(cli)
    assert one["kind"]
    assert "\x1b" not in cli.out("tail", "--no-follow")


def test_it_goes_on_until_it_is_interrupted(stack: Stack) -> None:
    app: Any = stack.app("tests.apps.journey")
    app.finalize()
    journal = journal_of(app)
    capture(journal)
    flush(app, everything=True)
    process = stack.celery("tests.apps.journey", "batchq", "tail", "--json", name="tail")
    process.wait_for_output('"kind": "batch_sealed"')
    emit.tell(app, TasksRescued(at=AT, tasks=41))
    process.wait_for_output('"tasks": 41')
    emit.tell(app, TasksRescued(at=AT, tasks=42))
    process.wait_for_output('"tasks": 42')
    process.send(signal.SIGINT)
    assert process.wait() == 130
    told = [json.loads(line) for line in process.output().splitlines()]
    assert [one.get("tasks") for one in told] == [None, 41, 42], "each once, and nothing else"


def test_webhooks_are_taken(stack: Stack) -> None:
    secret = {"OPENAI_WEBHOOK_SECRET": SECRET}
    words = ("batchq", "webhook", "--port", "0")
    process = stack.celery("tests.apps.webhook", *words, name="webhook", environment=secret)
    process.wait_for_output("webhooks are taken at http://127.0.0.1:")
    port = re.search(r":(\d+)/webhook", process.output())
    assert port is not None
    client = Client(int(port[1]))
    assert client.tell(event("batch_of_others")) == (200, "unknown")
    assert client.tell(b"forged", {}) == (401, "refused")
    process.wait_for_output("WARNING batchq.webhook: a webhook is answered with 'refused'")
    process.send(signal.SIGTERM)
    assert process.wait() == 0


def test_webhooks_need_a_secret(redis_url: str) -> None:
    cli = Commands(make_app("unsigned"))
    assert "set OPENAI_WEBHOOK_SECRET" in cli.said("webhook", "--port", "0", code=2)
