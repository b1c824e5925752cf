"""A journal full of everything the pages show, for tests of them and for their pictures.

Whatever a journey can bring about in a test is brought about by one, on the emulator: rows that
fail, a batch that stops half-way, one that was refused. The past is written with the journal's own
methods, under a clock that was set back.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from batchq.errors import WorkersKilled
from batchq.flow.bill import Bill
from batchq.flow.flush import flush
from batchq.journal import BatchRecord, Journal
from batchq.money.cost import table_of
from batchq.prompt import Lane, Outcome
from batchq.provider.descriptions import Row
from batchq.settings.config import settings
from batchq.settings.limits import Limits
from tests.harness import Stack
from tests.journals import LANE, chat, claim, message, prompt
from tests.test_flow import EMBEDDINGS, Steps

CLASSIFY, SUMMARISE, EMBED = "shop.tasks.classify", "shop.tasks.summarise", "shop.tasks.embed"
REPORTS = Lane(account="default", endpoint="/v1/responses", model="gpt-5.6-sol", label="reports")


def ask(
    journal: Journal,
    *bodies: bytes,
    name: str = CLASSIFY,
    lane: Lane = LANE,
    task_id: str | None = None,
) -> str:
    """One task asks its prompts; returns its id."""
    task_id = str(uuid.uuid4()) if task_id is None else task_id
    lease, claimed = claim(journal, task_id)
    assert claimed.word == "CLAIMED"
    first = claimed.next_number
    asked = [
        prompt(task_id, first + at, lane=lane, body=body, round=int(first > 0))
        for at, body in enumerate(bodies)
    ]
    word = journal.runs.capture(
        task_id,
        token=lease.token,
        message=message(task_id, task=name),
        prompts=asked,
        next_number=first + len(asked),
        name=name,
    )
    assert word == "CAPTURED"
    return task_id


def settle(journal: Journal, task_id: str, state: str = "SUCCESS") -> None:
    """The run of a task that has its answers comes to its end."""
    lease, claimed = claim(journal, task_id)
    assert claimed.word == "CLAIMED", claimed
    assert journal.runs.settle(task_id, token=lease.token, state=state, final=True) == "SETTLED"


@contextmanager
def at(journal: Journal, moment: int) -> Iterator[None]:
    """Let the journal take it for another time, where its clock is not Redis's own."""
    journal.clock.now = lambda: moment  # type: ignore[method-assign]
    try:
        yield
    finally:
        del journal.clock.now


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What there is: batches by what happened to them, and tasks by what they do."""

    over: str
    refused: str
    running: str
    aside: str
    waits: str
    dead: str
    failed: str
    answered: str
    ended: str
    revoked: str


def steps_of(stack: Stack) -> Steps:
    return Steps(stack.server, stack.emulator, stack.app("tests.apps.flower"))


QUESTIONS = tuple(f"question {number}" for number in range(12))


def fill(steps: Steps, *, questions: Sequence[str] = QUESTIONS) -> Filled:
    """Fill an empty journal; what is open stays where it is while no worker runs."""
    journal = steps.journal
    over, failed, answered, ended = _over(steps, questions)
    refused = _refused(steps)
    aside = _aside(steps)
    running = _running(steps)
    waits = ask(journal, chat("the first question"), chat("the second"), name=SUMMARISE)
    for number in range(40):
        body = b'{"model": "text-embedding-3-small", "input": "paragraph %d"}' % number
        ask(journal, body, name=EMBED, lane=EMBEDDINGS)
    return Filled(
        over=over,
        refused=refused,
        running=running,
        aside=aside,
        waits=waits,
        dead=_dead(steps),
        failed=failed,
        answered=answered,
        ended=ended,
        revoked=_revoked(steps),
    )


def _until_empty(steps: Steps) -> None:
    """Flush, until nothing waits and no batch is open."""
    flush(steps.app, everything=True)
    steps.until_over()
    if steps.journal.lanes.all():
        _until_empty(steps)


def _over(steps: Steps, questions: Sequence[str]) -> tuple[str, str, str, str]:
    """A batch that brought answers, errors, and rows that are asked again."""
    journal = steps.journal
    steps.emulator.fault("line_error", first=2, times=1)
    steps.emulator.fault("rows_429", first=5, times=1)
    names = [CLASSIFY, CLASSIFY, CLASSIFY, SUMMARISE]
    ids = [
        ask(journal, chat(text), name=names[number % 4], task_id=_in_turn(number))
        for number, text in enumerate(questions)
    ]
    _until_empty(steps)
    (over,) = (one.id for one in journal.batches.closed(9) if one.asked_again)
    calls = {one.task_id: one.call for one in journal.views.prompts(journal.lines.ids(over))}
    status = {i: call.status_code for i, call in calls.items() if call is not None}
    ended, answered, *_ = (i for i in ids if status[i] == 200)
    settle(journal, ended)
    return over, next(i for i in ids if status[i] == 400), answered, ended


def _in_turn(number: int) -> str:
    """An id after those of lower numbers: what came in one millisecond stands in order of ids."""
    return f"{number:08x}{str(uuid.uuid4())[8:]}"


def _refused(steps: Steps) -> str:
    """A file that the provider refuses, for one of its lines."""
    steps.emulator.fault("invalid_line", first=1, times=1)
    for number in range(3):
        ask(steps.journal, b'{"model": "gpt-5.6-sol", "input": "line %d"}' % number, lane=REPORTS)
    _until_empty(steps)
    (refused,) = (one.id for one in steps.journal.batches.closed(9) if one.status == "failed")
    return refused


def _aside(steps: Steps) -> str:
    """A batch whose steps have killed their workers, one after the other."""
    journal = steps.journal
    ask(journal, chat("it kills"), name=SUMMARISE, lane=REPORTS)
    flush(steps.app, everything=True)
    batch = steps.only().id
    steps.wakeups()
    for _ in range(4):
        lease = journal.batches.begin(batch)
        if lease is not None:
            # Its worker is gone, and so is its lease after a while.
            steps.server.client.delete(lease.key)
    record = journal.batches.get(batch)
    assert record is not None
    assert record.dead_at
    return batch


def _running(steps: Steps) -> str:
    """A batch that has got half-way."""
    steps.emulator.fault("stuck_in_progress", at=0.5, times=None)
    for number in range(130):
        ask(steps.journal, chat(f"running {number}"))
    flush(steps.app, everything=True)

    def half() -> BatchRecord | None:
        found = [one for one in steps.journal.batches.open() if not one.dead_at]
        return next((one for one in found if one.completed), None)

    batch: BatchRecord = steps.until(half, "the batch is half-way")
    return batch.id


def kill(journal: Journal, task_id: str, name: str = SUMMARISE) -> None:
    """A task that has its answers takes its worker along, until it is put aside."""
    lease, claimed = claim(journal, task_id)
    while claimed.word == "CLAIMED":
        # Its worker is gone, and so is its lease after a while.
        journal.store.redis.delete(lease.key)
        lease, claimed = claim(journal, task_id)
    assert claimed.word == "DEAD"
    body = message(task_id, task=name)
    assert journal.runs.bury(task_id, token=lease.token, message=body, state="FAILURE") == "BURIED"


def _dead(steps: Steps) -> str:
    journal = steps.journal
    task_id = ask(journal, chat("it kills its worker"), name=SUMMARISE)
    journal.answers.add(LANE, [(f"{task_id}-0", Outcome(status_code=200, body=b'{"choices": []}'))])
    kill(journal, task_id)
    steps.app.backend.store_result(task_id, WorkersKilled(SUMMARISE, task_id, 3), "FAILURE")
    return task_id


def _revoked(steps: Steps) -> str:
    task_id = ask(steps.journal, chat("nobody wants to know"))
    steps.journal.revocations.let_go(task_id, token="nobody")
    return task_id


# The past


def write_past(steps: Steps, *, days: int = 30, minutes: int = 60 * 26) -> None:
    """Samples of each minute, with an hour in which beat was away, and the batches of some days."""
    journal = steps.journal
    now = journal.clock.now()
    for back in reversed(range(days)):
        for number in range((back * 7) % 4):
            _past_batch(steps, now - back * 86_400_000, back, number)
    for back in reversed(range(1, minutes)):
        if not 500 <= back < 560:
            journal.tallies.count("answered", by=_answers(back))
            with at(journal, now - back * 60_000):
                journal.tallies.take_sample(waiting=_waiting(back), batched=_batched(back))


def _answers(back: int) -> int:
    return int(20 + 18 * math.sin(back / 97)) if back % 30 < 20 else 0


def _waiting(back: int) -> int:
    return (back * 37) % 30 * 11 + int(160 + 150 * math.sin(back / 130))


def _batched(back: int) -> int:
    return int(600 + 550 * math.cos(back / 180))


def _past_batch(steps: Steps, moment: int, back: int, number: int) -> None:
    journal, lane = steps.journal, (LANE, EMBEDDINGS, REPORTS)[(back + number) % 3]
    ids = [ask(journal, chat(f"past {back}-{at}"), lane=lane) for at in range(3)]
    batch_id = uuid.uuid4().hex
    journal.lanes.seal(lane, batch_id, limits=Limits(), tokens=2**53)
    lease = journal.batches.begin(batch_id)
    assert lease is not None
    took = 240_000 * 2 ** ((back * 5 + number) % 9)
    known: dict[str, Any] = {"sealed_at": moment - took - 60_000, "submitted_at": moment - took}
    known |= {"finished_at": moment, "provider_id": f"batch_{batch_id}", "state": "finished"}
    journal.batches.advance(batch_id, lease, due=timedelta(0), **known)
    record = journal.batches.get(batch_id)
    assert record is not None
    bill = Bill(record, table_of(settings(steps.app), "default"))
    for task_id in ids:
        receipt = bill.answered(_row(task_id, back, number))
        body = Outcome(status_code=200, body=b"{}")
        journal.answers.add(lane, [(f"{task_id}-0", body)], {f"{task_id}-0": receipt})
        settle(journal, task_id)
    with at(journal, moment):
        tally = bill.tally(status="completed", asked_again=0)
        journal.batches.close(
            record, lease, tally=tally, status="completed", answered=3, **bill.fields()
        )


def _row(task_id: str, back: int, number: int) -> Row:
    usage = {"prompt_tokens": 400_000 * (1 + back % 5), "completion_tokens": 90_000 * (number + 1)}
    return Row(custom_id=f"{task_id}-0", status_code=200, body={"usage": usage})
