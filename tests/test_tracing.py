"""A trace goes on across the wait, in real workers with OpenTelemetry's SDK, and without."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult

from batchq.journal import Journal, Waited, journal_of
from tests.apps import traced
from tests.harness import ROOT, Stack, wait_until
from tests.journals import LANE, capture, claim, outcome

APP = "tests.apps.traced"
#: Each is the name of its queue, too.
WORKERS = (
    "sdk",
    "instrumented",
    "broken",
    "unsampled",
    "without_provider",
    "without_package",
    "threads",
)


@dataclass(frozen=True)
class Span:
    """One span as the SDK's exporter writes it."""

    raw: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.raw["name"])

    @property
    def id(self) -> str:
        return str(self.raw["context"]["span_id"])

    @property
    def trace(self) -> str:
        return str(self.raw["context"]["trace_id"])

    @property
    def parent(self) -> str | None:
        parent: str | None = self.raw["parent_id"]
        return parent

    @property
    def links(self) -> list[str]:
        return [link["context"]["span_id"] for link in self.raw["links"]]

    @property
    def said(self) -> dict[str, Any]:
        said: dict[str, Any] = self.raw["attributes"]
        return said

    @property
    def start(self) -> datetime:
        return datetime.fromisoformat(self.raw["start_time"])

    @property
    def end(self) -> datetime:
        return datetime.fromisoformat(self.raw["end_time"])


@dataclass(frozen=True)
class Traced:
    """Workers that trace and that do not, each with a queue of its own, and what they wrote."""

    stack: Stack
    file: Path

    def text(self) -> str:
        return self.file.read_text() if self.file.exists() else ""

    def all(self) -> list[Span]:
        # The last line may be only half there.
        whole = self.text().rpartition("\n")[0].splitlines()
        return [Span(json.loads(line)) for line in whole]

    def of(self, task_id: str) -> list[Span]:
        """Ours of a task, in the order in which they began."""
        found = [span for span in self.all() if span.said.get("messaging.message.id") == task_id]
        return sorted((s for s in found if s.name.startswith("batchq.")), key=lambda s: s.start)

    def until(self, task_id: str, *names: str) -> list[Span]:
        """Those of a task, once they are these."""
        wanted = [f"batchq.{name}" for name in names]

        def there() -> list[Span] | None:
            found = self.of(task_id)
            return found if [span.name for span in found] == wanted else None

        return wait_until(there, description=f"the spans of {task_id} are {names}", timeout=10)

    def named(self, name: str, holds: Callable[[Span], bool]) -> list[Span]:
        return wait_until(
            lambda: [span for span in self.all() if span.name == name and holds(span)],
            description=f"there is a span {name}",
            timeout=10,
        )


@pytest.fixture(scope="module")
def world(shared_stack: Stack) -> Traced:
    file = shared_stack.directory / "spans"
    # Before anything else: redis-py imports OpenTelemetry where it is installed.
    without = shared_stack.directory / "without"
    without.mkdir()
    (without / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry'] = None\n")
    workers = [
        shared_stack.worker(
            APP,
            pool="threads" if how == "threads" else "prefork",
            concurrency=2 if how == "threads" else 1,
            queues=[how, *(["batchq"] if how == "sdk" else [])],
            environment={
                "TRACED": "sdk" if how == "threads" else how,
                "SPANS": str(file),
                **({"PYTHONPATH": str(without)} if how == "without_package" else {}),
            },
            wait=False,
        )
        for how in WORKERS
    ]
    shared_stack.beat(APP)
    for worker in workers:
        worker.wait_for_output(" ready.", timeout=60)
    return Traced(shared_stack, file)


def send(task: Any, *args: Any, queue: str = "sdk", **headers: str) -> AsyncResult[Any]:
    sent: AsyncResult[Any] = task.apply_async(args, queue=queue, headers=headers or None)
    return sent


def caller() -> tuple[str, str, str]:
    """Somebody who calls within a trace: its id, the span's, and the header that says so."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return f"0x{trace}", f"0x{span}", f"00-{trace}-{span}-01"


# A caller that traces


def test_the_trace_of_the_caller_goes_on_across_the_wait(world: Traced) -> None:
    trace, span, header = caller()
    sent = send(traced.ask, "one", traceparent=header)
    sent.get(timeout=30)
    capture, wait, resume = spans = world.until(sent.id, "capture", "wait", "resume")
    assert {one.trace for one in spans} == {trace}
    assert (capture.parent, wait.parent, resume.parent) == (span, capture.id, span)
    assert resume.links == [capture.id]
    assert capture.links == []
    # Redis's clock counts milliseconds.
    assert (wait.start - capture.start).total_seconds() > -0.002
    assert (resume.start - wait.end).total_seconds() > -0.002
    assert wait.end > capture.end


def test_spans_say_what_was_asked_and_no_word_of_it(world: Traced) -> None:
    sent = send(traced.ask, "two")
    sent.get(timeout=30)
    capture, wait, resume = world.until(sent.id, "capture", "wait", "resume")
    lane = f"default|/v1/chat/completions|{traced.MODEL}|"
    of_task = {
        "messaging.system": "celery",
        "messaging.message.id": sent.id,
        "messaging.destination.name": "sdk",
        "celery.task_name": traced.ask.name,
    }
    asked = {"batchq.prompts": 1, "batchq.lanes": [lane], "gen_ai.request.model": traced.MODEL}
    assert capture.said == {**of_task, **asked, "batchq.answers": 0}
    assert wait.said.items() >= {**of_task, **asked, "batchq.attempts": 1}.items()
    assert resume.said == {**of_task, "batchq.answers": 1}
    assert {one.raw["status"]["status_code"] for one in (capture, wait, resume)} == {"UNSET"}
    assert traced.CANARY not in world.text()


def test_the_message_keeps_its_headers_and_gets_none_of_ours(world: Traced) -> None:
    _, _, header = caller()
    sent = send(traced.ask, "three", traceparent=header, tracestate="vendor=1", baggage="user=7")
    seen = sent.get(timeout=30)["headers"]
    assert seen == {"traceparent": header, "tracestate": "vendor=1", "baggage": "user=7"}
    capture, *_ = world.until(sent.id, "capture", "wait", "resume")
    assert "vendor" in str(capture.raw["context"]["trace_state"])


def test_each_round_has_a_capture_and_a_wait(world: Traced) -> None:
    trace, span, header = caller()
    sent = send(traced.twice, "four", traceparent=header)
    sent.get(timeout=30)
    spans = world.until(sent.id, "capture", "wait", "capture", "wait", "resume")
    first, wait, second, later, resume = spans
    assert {one.trace for one in spans} == {trace}
    assert {first.parent, second.parent, resume.parent} == {span}
    assert (wait.parent, later.parent) == (first.id, second.id)
    assert (second.links, resume.links) == ([first.id], [second.id])
    assert [one.said["batchq.answers"] for one in (first, second, resume)] == [0, 1, 2]


# A caller that does not


@pytest.mark.parametrize("error", ["down", "bad"])
def test_a_retry_stays_in_the_trace(world: Traced, error: str) -> None:
    """Nobody has begun a trace, so the first capture does, and all that follows is in there."""
    sent = send(traced.fails_once, "five", error)
    assert sent.get(timeout=30) == 1
    # The retry has the good answer at once; a bad one is asked again, and waited for.
    names = ["resume"] if error == "down" else ["capture", "wait", "resume"]
    spans = world.until(sent.id, "capture", "wait", "resume", *names)
    assert {one.trace for one in spans} == {spans[0].trace}
    assert spans[0].parent is None
    failed = spans[2]
    assert failed.raw["status"] == {"status_code": "ERROR"}
    kind = "tests.apps.traced.Down" if error == "down" else "ValueError"
    assert failed.said["error.type"] == kind
    assert failed.raw["events"] == []
    assert spans[-1].raw["status"]["status_code"] == "UNSET"
    assert spans[-1].said["celery.retries"] == 1
    assert traced.CANARY not in world.text()


@pytest.mark.parametrize("queue", ["sdk", "threads"])
def test_two_tasks_without_a_trace_have_one_each(world: Traced, queue: str) -> None:
    sent = [send(traced.ask, f"six {number}", queue=queue) for number in range(2)]
    traces = []
    for one in sent:
        one.get(timeout=30)
        spans = world.until(one.id, "capture", "wait", "resume")
        traces.append({span.trace for span in spans})
    assert [len(found) for found in traces] == [1, 1]
    assert traces[0] != traces[1]


def test_spans_of_the_body_hang_below_its_run(world: Traced) -> None:
    trace, _, header = caller()
    sent = send(traced.own_span, "seven", traceparent=header)
    sent.get(timeout=30)
    capture, _, resume = world.until(sent.id, "capture", "wait", "resume")
    own = world.named("own", lambda span: span.trace == trace)
    assert [span.parent for span in own] == [capture.id, resume.id]


def test_a_run_that_asks_nothing_is_no_capture(world: Traced) -> None:
    sent = send(traced.asks_nothing)
    assert sent.get(timeout=30) == 1
    world.until(sent.id, "run")


# The steps on its batch


def test_a_batch_has_a_trace_that_is_linked_with_those_of_its_tasks(world: Traced) -> None:
    sent = send(traced.ask, "eight")
    sent.get(timeout=30)
    capture, wait, _ = world.until(sent.id, "capture", "wait", "resume")
    (flush,) = world.named("batchq.flush", lambda span: capture.id in span.links)
    steps = [
        *world.named("batchq.poll", lambda span: span.trace == flush.trace),
        *world.named("batchq.fetch", lambda span: span.trace == flush.trace),
    ]
    assert {step.parent for step in steps} == {flush.id}
    batch = flush.said["batchq.batch"]
    assert {step.said["batchq.batch"] for step in steps} == {batch}
    record = journal_of(traced.app).batches.get(batch)
    assert record is not None
    assert {step.said["batchq.provider_batch"] for step in (flush, *steps)} == {record.provider_id}
    assert (flush.said["batchq.state"], steps[-1].said["batchq.state"]) == ("submitted", "closed")
    assert steps[-1].said["batchq.answered"] == record.answered == record.lines
    assert flush.said["messaging.batch.message_count"] == record.lines
    assert flush.raw["kind"] == "SpanKind.CONSUMER"
    assert wait.trace == capture.trace != flush.trace
    # And back: from the wait to the batch that has ended it.
    assert wait.links == [flush.id]
    assert wait.said["batchq.batches"] == [batch]
    assert wait.said["batchq.provider_batches"] == [record.provider_id]
    told = {event["name"]: event["timestamp"] for event in wait.raw["events"]}
    way = ["batchq.sealed", "batchq.submitted", "batchq.finished", "batchq.answered"]
    assert sorted(told, key=lambda name: told[name]) == way


def test_a_step_that_fails_says_by_which_error(world: Traced) -> None:
    for fault in ("upload_500", "retrieve_500", "content_502"):
        world.stack.emulator.fault(fault)
    sent = send(traced.ask, "eight and a half")
    sent.get(timeout=30)
    capture, *_ = world.until(sent.id, "capture", "wait", "resume")
    (flush,) = world.named(
        "batchq.flush", lambda s: capture.id in s.links and s.said["batchq.state"] == "submitted"
    )
    # The next one looks whether the file is at the provider, and uploads it then.
    failed, *_ = (s for s in world.all() if s.name == "batchq.flush" and capture.id in s.links)
    batch = flush.said["batchq.batch"]
    assert failed.said["batchq.batch"] == batch
    polls = world.named("batchq.poll", lambda span: span.said["batchq.batch"] == batch)
    fetches = world.named("batchq.fetch", lambda span: span.said["batchq.batch"] == batch)
    assert {span.trace for span in (*polls, *fetches)} == {flush.trace}
    for span in (failed, polls[0], fetches[0]):
        assert span.raw["status"] == {"status_code": "ERROR"}
        assert span.said["error.type"] == "batchq.errors.ProviderUnclear"
    for span in (flush, polls[-1], fetches[-1]):
        assert span.raw["status"] == {"status_code": "UNSET"}
    assert traced.CANARY not in world.text()


# What the journal knows of a wait


@pytest.fixture
def journal(world: Traced) -> Journal:
    return journal_of(traced.app)


def note(journal: Journal, task_id: str, field: str, value: str) -> None:
    journal.store.redis.hset(journal.store.task_key(task_id), field, value)


def waited(journal: Journal, task_id: str) -> Waited | None:
    lease, claimed = claim(journal, task_id)
    assert claimed.word == "CLAIMED"
    journal.store.redis.delete(lease.key)
    return claimed.waited


def test_the_journal_tells_of_a_wait_what_is_known(journal: Journal) -> None:
    # Of an account that nobody has, so that no flush takes them along.
    lane = replace(LANE, account="tests")
    task = capture(journal, None, None, lane=lane)
    journal.answers.add(lane, [(one, outcome()) for one in task.custom_ids])
    assert waited(journal, task.task_id) is None
    note(journal, task.task_id, "trace", f"00-{'1' * 32}-{'2' * 16}-01")
    found = waited(journal, task.task_id)
    assert found is not None
    assert found.asked_at > 0
    known = (found.prompts, found.batches, found.attempts, found.lanes)
    assert known == (2, (), 1, {lane.name: lane.model})
    note(journal, task.task_id, "0:receipt", '{"batch": "b1", "answered_at": 5}')
    note(journal, task.task_id, "1:receipt", '{"batch": "b2", "answered_at": 7}')
    note(journal, task.task_id, "1:attempts", "2")
    found = waited(journal, task.task_id)
    assert found is not None
    assert (found.batches, found.attempts, found.answered_at) == (("b1", "b2"), 3, 7)
    journal.tasks.drop(task.task_id)


@pytest.mark.parametrize("rubbish", ["", "[]", "no JSON", '{"batch": 5, "answered_at": "x"}'])
def test_rubbish_beside_an_answer_fails_no_task(journal: Journal, rubbish: str) -> None:
    lane = replace(LANE, account="tests")
    task = capture(journal, lane=lane)
    journal.answers.add(lane, [(one, outcome()) for one in task.custom_ids])
    for field in ("trace", "0:at", "0:attempts", "0:receipt"):
        note(journal, task.task_id, field, rubbish)
    found = waited(journal, task.task_id)
    assert found is not None
    assert (found.asked_at, found.answered_at) == (0, 0)
    journal.tasks.drop(task.task_id)


# Celery's own instrumentation


def test_with_celerys_own_instrumentation_each_run_is_below_its_delivery(world: Traced) -> None:
    begun = send(traced.sends, "nine", queue="instrumented")
    task_id = begun.get(timeout=30)
    AsyncResult(task_id, app=traced.app).get(timeout=30)
    capture, wait, resume = spans = world.until(task_id, "capture", "wait", "resume")
    first, second = wait_until(
        lambda: found if len(found := _deliveries(world, task_id)) == 2 else None,
        description="both deliveries have ended",
    )
    (published,) = world.named(
        f"apply_async/{traced.ask.name}", lambda s: s.said.get("messaging.message.id") == task_id
    )
    (sender,) = world.named(f"run/{traced.sends.name}", lambda s: s.trace == published.trace)
    assert published.parent == sender.id
    assert {one.trace for one in (*spans, first, second, published)} == {sender.trace}
    # Its message names who has sent it, both times.
    assert (first.parent, second.parent) == (published.id, published.id)
    assert (capture.parent, wait.parent, resume.parent) == (first.id, capture.id, second.id)
    assert resume.links == [capture.id]


def test_where_each_delivery_begins_a_trace_ours_stay_in_the_first(world: Traced) -> None:
    """Nobody names a trace in the message, so the instrumentation begins one at each delivery."""
    sent = send(traced.twice, "ten", queue="instrumented")
    sent.get(timeout=30)
    spans = world.until(sent.id, "capture", "wait", "capture", "wait", "resume")
    runs = wait_until(
        lambda: found if len(found := _deliveries(world, sent.id)) == 3 else None,
        description="all deliveries have ended",
    )
    assert len({run.trace for run in runs}) == 3
    assert {one.trace for one in spans} == {runs[0].trace}
    first, _, second, _, resume = spans
    assert (first.parent, second.parent, resume.parent) == (runs[0].id, first.id, second.id)
    assert (second.links, resume.links) == ([runs[1].id], [runs[2].id])


def _deliveries(world: Traced, task_id: str) -> list[Span]:
    found = [span for span in world.all() if span.said.get("messaging.message.id") == task_id]
    return sorted((s for s in found if s.name.startswith("run/")), key=lambda s: s.start)


# Nobody traces


@pytest.mark.parametrize("without", ["package", "provider"])
def test_without_opentelemetry_nothing_is_traced(world: Traced, without: str) -> None:
    _, _, header = caller()
    sent = send(traced.ask, without, queue=f"without_{without}", traceparent=header)
    expected = {"headers": {"traceparent": header}, "has_opentelemetry": without == "provider"}
    assert sent.get(timeout=30) == expected
    assert world.of(sent.id) == []
    (worker,) = (one for one in world.stack.processes if f"without_{without}" in one.output())
    assert "a span could not be made" not in worker.output()


def test_opentelemetry_is_imported_by_who_traces_and_not_by_us() -> None:
    code = (
        "import sys, redis\n"  # It imports OpenTelemetry itself, if it is installed.
        "before = set(sys.modules)\n"
        "import batchq.capture.delivery, batchq.flow.flush, batchq.observe.tracing\n"
        "print([name for name in set(sys.modules) - before if 'opentelemetry' in name])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


def test_a_task_that_is_not_sampled_has_no_spans_after_its_wait_either(world: Traced) -> None:
    """It was decided when its trace began. A trace that began at the resume would be sampled."""
    sent = send(traced.ask, "eleven", queue="unsampled")
    sent.get(timeout=30)
    trace = secrets.token_hex(16)
    named = send(traced.ask, "twelve", queue="unsampled", traceparent=f"00-{trace}-{trace[:16]}-00")
    named.get(timeout=30)
    assert world.of(sent.id) == world.of(named.id) == []


def test_a_span_processor_that_fails_fails_no_task(world: Traced) -> None:
    sent = send(traced.ask, "thirteen", queue="broken")
    assert sent.get(timeout=30)["headers"] is None
    # At the start of its capture, and at the end of its resume.
    output = "".join(process.output() for process in world.stack.processes)
    assert output.count("a span could not be made (RuntimeError)") == 2


# The page


def test_all_that_a_span_says_is_on_the_page(world: Traced) -> None:
    page = (ROOT / "docs/tracing.md").read_text()
    ours = [span for span in world.all() if span.name.startswith("batchq.")]
    assert len(ours) > 20
    said = {name for span in ours for name in span.said}
    told = {event["name"] for span in ours for event in span.raw["events"]}
    assert {
        name for name in said | told | {s.name for s in ours} if f"`{name}`" not in page
    } == set()
