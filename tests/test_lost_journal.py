"""Redis forgets: all of it, or its last writes. What is paid for at the provider is found again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from batchq.decide.adopt import search_is_due
from batchq.flow.adopt import look_for_lost
from batchq.flow.flush import flush
from batchq.journal import Epoch, Search, journal_of
from batchq.journal.adoption import KNOWN_EPOCHS
from batchq.overview import status
from batchq.provider.client import provider_for
from batchq.settings.config import settings
from batchq.settings.limits import Limits
from tests.apps import unsafe
from tests.apps.base import make_app
from tests.harness import Emulator, Process, Server, Stack, keys_without_end, wait_until
from tests.journals import DOCUMENTED, LANE, capture, chat, ids, outcome, outcomes

MODULE = "tests.apps.unsafe"
FOUND = "was lost from the journal and is found at the provider"


def batched(app: Any) -> int:
    """Lines in batches that the provider has."""
    return sum(one.lines for one in status(app).batches if one.state == "submitted")


def ask(stack: Stack, count: int, *, fault: bool = True) -> None:
    """Tasks whose batch is running at the provider, and stays so until the fault is lifted."""
    if fault:
        stack.emulator.fault("stuck_in_progress", times=None)
    texts = [f"question {number}" for number in range(count)]
    for text in texts:
        unsafe.say.apply_async([text])
    wait_until(lambda: batched(unsafe.app) == count, description="all are in batches")


def quiet(stack: Stack) -> Any:
    return wait_until(
        lambda: (now := status(unsafe.app)).batches == () and now.tasks_resuming == 0 and now,
        description="nothing is under way",
    )


@pytest.fixture
def processes(stack: Stack) -> tuple[Process, Process]:
    worker = stack.worker(MODULE, pool="threads", concurrency=8)
    return worker, stack.beat(MODULE)


@pytest.mark.usefixtures("processes")
def test_what_was_paid_for_is_not_paid_for_again_after_a_flushall(stack: Stack) -> None:
    """Fifty tasks wait for a batch, and somebody empties Redis; they are sent again."""
    ask(stack, 50)
    before = stack.emulator.ledger()["batches_created"]
    stack.redis.flushall()
    again = [unsafe.say.delay(f"question {number}") for number in range(50)]
    wait_until(
        lambda: status(unsafe.app).tasks_waiting == 50 and not status(unsafe.app).waiting,
        description="all of them wait with the batches that were found",
    )
    stack.emulator.lift("stuck_in_progress")
    answers = [result.get(timeout=30) for result in again]
    assert len(set(answers)) == 50
    ledger = stack.emulator.ledger()
    assert ledger["batches_created"] == before
    assert {line["ok"] for line in ledger["lines"].values()} == {1}
    assert len(ledger["lines"]) == 50
    now = quiet(stack)
    assert any("the journal was lost" in finding.what for finding in now.findings)
    worker = stack.processes[0].output()
    assert worker.count("was lost: somebody has emptied it") == 1
    assert FOUND in worker
    assert keys_without_end(stack.redis, documented=DOCUMENTED) == []


@pytest.mark.usefixtures("processes")
def test_an_answer_that_came_before_its_task_is_kept_for_it(stack: Stack) -> None:
    """The batch is over and read before anybody sends the tasks again, and two ask the same."""
    ask(stack, 3)
    stack.redis.flushall()
    stack.emulator.lift("stuck_in_progress")
    wait_until(
        lambda: journal_of(unsafe.app).batches.closed(10), description="the batch found is read"
    )
    again = [unsafe.say.delay(f"question {number}") for number in (0, 1, 2, 0)]
    answers = [result.get(timeout=30) for result in again]
    assert answers[0] == answers[3]
    ledger = stack.emulator.ledger()
    # Each answer serves one task: the second that asks the same is a prompt of its own.
    assert sum(line["ok"] for line in ledger["lines"].values()) == 4
    assert [file for file in ledger.get("files", []) if not file.get("deleted")] == []


# By hand, in one process


@pytest.fixture
def make(
    server: Server,
    emulator: Emulator,
) -> Iterator[Callable[..., Any]]:
    count = 0

    def made(**options: Any) -> Any:
        nonlocal count
        count += 1
        return make_app(f"lost{count}", **options)

    yield made
    KNOWN_EPOCHS.clear()


def submit(app: Any, *texts: str) -> str:
    """A batch at the provider that stays there; returns its id."""
    for text in texts:
        capture(journal_of(app), chat(text))
    flush(app, everything=True)
    (record,) = [one for one in journal_of(app).batches.open() if one.state == "sealed"]
    flush(app, record.id)
    assert journal_of(app).batches.get(record.id).state == "submitted"  # type: ignore[union-attr]
    return record.id


def test_a_batch_of_another_installation_is_left_alone(
    make: Callable[..., Any], server: Server, emulator: Emulator
) -> None:
    """Two share an account and every default. One is emptied, and must not take the other's."""
    emulator.fault("stuck_in_progress", times=None)
    theirs = submit(make(), "a question of theirs")
    server.client.flushall()
    KNOWN_EPOCHS.clear()  # Ours is another process, on a Redis of its own.
    ours = make()
    batch_id = submit(ours, "a question of ours")
    server.client.flushall()
    journal_of(ours).adoption.epoch()
    look_for_lost(ours)
    assert [record.id for record in journal_of(ours).batches.open()] == [batch_id]
    assert theirs != batch_id


def test_an_installation_with_a_name_knows_its_batches_after_all_of_it_was_lost(
    make: Callable[..., Any], server: Server, emulator: Emulator
) -> None:
    emulator.fault("stuck_in_progress", times=None)
    batch_id = submit(make(batchq_installation="shop"), "a question")
    submit(make(batchq_installation="staging"), "another question")
    server.client.flushall()
    KNOWN_EPOCHS.clear()
    look_for_lost(make(batchq_installation="shop"))
    found = journal_of(make(batchq_installation="shop")).batches.open()
    assert [record.id for record in found] == [batch_id]
    assert (found[0].lane, found[0].lines) == (LANE, 1)


def test_what_was_read_and_forgotten_is_not_adopted(
    make: Callable[..., Any], stack: Stack, server: Server
) -> None:
    """Its files are deleted when it is read: so it is told apart from one that nobody has read."""
    stack.worker(MODULE, pool="solo")
    stack.beat(MODULE)
    assert unsafe.say.delay("a question").get(timeout=30)
    quiet(stack)
    app = make()
    journal_of(app).adoption.epoch()
    server.client.flushall()
    look_for_lost(app)
    assert journal_of(app).adoption.epoch().former
    assert journal_of(app).batches.open() == []


def test_where_files_are_kept_only_a_running_batch_is_adopted(
    make: Callable[..., Any], server: Server, emulator: Emulator
) -> None:
    """Nobody can tell whether an answer was used: to give it again would be a wrong one."""
    app = make(batchq_delete_files=False)
    submit(app, "a question")
    provider = provider_for(settings(app), "default")
    since = settings(app).batch_deadline
    wait_until(
        lambda: {one.status for one in provider.batches(since=_ago(since))} == {"completed"},
        description="it is over",
    )
    server.client.flushall()
    look_for_lost(app)
    assert journal_of(app).batches.open() == []


def _ago(duration: Any) -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC) - duration


def test_a_lost_tail_is_found_when_the_server_starts_anew(
    make: Callable[..., Any], server: Server, emulator: Emulator
) -> None:
    """The file of a Redis that crashed lacks its last writes: a batch was created that it does not
    know, and its prompts stand in their lane again. They wait with that batch, not with a new one.
    """
    emulator.fault("stuck_in_progress", times=None)
    app = make()
    journal = journal_of(app)
    asked = capture(journal, chat("a question"))
    look_for_lost(app)
    server.client.save()
    saved = (server.directory / "dump.rdb").read_bytes()
    flush(app, everything=True)
    (record,) = journal.batches.open()
    flush(app, record.id)
    before = emulator.ledger()["batches_created"]
    restore(server, saved)
    assert journal.batches.open() == []
    assert journal.answers.places(asked.custom_ids) == ["lane"]
    flush(app, everything=True)
    assert journal.answers.places(asked.custom_ids) == [f"batch:{record.id}"]
    assert emulator.ledger()["batches_created"] == before


def restore(server: Server, saved: bytes) -> None:
    """What a Redis has after it crashed: what it had some time ago."""
    server.kill()
    for file in sorted(server.directory.glob("appendonlydir/*")):
        file.unlink()
    (server.directory / "appendonlydir").rmdir()
    (server.directory / "dump.rdb").write_bytes(saved)
    server.options = (*server.options, "--appendonly", "no")
    server.start()
    server.client.config_set("appendonly", "yes")
    wait_until(
        lambda: not server.client.info("persistence")["aof_rewrite_in_progress"],
        description="it has a file again",
    )
    server.options = server.options[:-2]


def test_nothing_is_sealed_before_the_provider_was_looked_through(
    make: Callable[..., Any], server: Server, emulator: Emulator
) -> None:
    """The list is refused for a moment after a loss: what it may hold is not sent anew."""
    emulator.fault("stuck_in_progress", times=None)
    app = make()
    batch_id = submit(app, "a question")
    server.client.flushall()
    emulator.fault("unauthorized", call="list")
    asked = capture(journal_of(app), chat("a question"))
    flush(app, everything=True)
    assert journal_of(app).answers.places(asked.custom_ids) == ["lane"]
    wait_until(lambda: _placed(app, asked), description="it waits with the batch")
    assert journal_of(app).answers.places(asked.custom_ids) == [f"batch:{batch_id}"]
    assert ids([asked]) == asked.custom_ids
    assert outcomes(journal_of(app), asked) == [None]


def _placed(app: Any, asked: Any) -> bool:
    flush(app, everything=True)
    return journal_of(app).answers.places(asked.custom_ids) != ["lane"]


def test_a_lane_is_not_sealed_for_a_journal_that_was_lost_a_moment_ago(
    make: Callable[..., Any], server: Server
) -> None:
    """Emptied between the look through the accounts and the seal: the next tick looks first."""
    journal = journal_of(make())
    epoch = journal.adoption.epoch().id
    server.client.flushall()
    asked = capture(journal)
    assert journal.lanes.seal(LANE, "b", limits=Limits(), tokens=10**9, epoch=epoch) == (0, True)
    assert journal.adoption.epoch().lost
    assert journal.answers.places(asked.custom_ids) == ["lane"]
    epoch = journal.adoption.epoch().id
    assert journal.lanes.seal(LANE, "b", limits=Limits(), tokens=10**9, epoch=epoch) == (1, False)


def test_a_loss_is_told_once_however_many_threads_come_upon_it(
    make: Callable[..., Any], server: Server
) -> None:
    """Two threads of one worker saw it at once, and both wrote it into the log."""
    journal = journal_of(make())
    together = threading.Barrier(8)

    def epoch(_: int) -> Epoch:
        together.wait()
        return journal.adoption.epoch()

    for _ in range(20):
        before = journal.adoption.epoch().id
        server.client.flushall()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(epoch, range(8)))
        assert [epoch.lost for epoch in found].count(True) == 1
        assert {epoch.id for epoch in found} == {journal.adoption.epoch().id} != {before}


def test_nobody_waits_for_an_adopted_batch_that_is_read(make: Callable[..., Any]) -> None:
    """Whoever came to it after its lines were read would wait for good."""
    journal = journal_of(make())
    asked, late = capture(journal, chat("one")), capture(journal, chat("two"))
    lines = [("line-0", asked.prompts[0].fingerprint), ("line-1", late.prompts[0].fingerprint)]
    journal.adoption.note_lines("b", LANE, lines)
    assert journal.adoption.adopt("b", LANE, state="submitted")
    assert not journal.adoption.adopt("b", LANE, state="submitted")
    prompts = [(one.custom_ids[0], LANE, one.prompts[0].fingerprint) for one in (asked, late)]
    assert journal.adoption.reuse(prompts[:1]) == []
    assert journal.answers.places(asked.custom_ids) == ["batch:b"]
    journal.adoption.shut("b")
    assert journal.adoption.reuse(prompts[1:]) == []
    assert journal.answers.places(late.custom_ids) == ["lane"]


def test_a_line_serves_one_prompt(make: Callable[..., Any]) -> None:
    journal = journal_of(make())
    asked = [capture(journal, chat("the same")) for _ in range(2)]
    fingerprint = asked[0].prompts[0].fingerprint
    journal.adoption.note_lines("b", LANE, [("line-0", fingerprint)])
    journal.adoption.adopt("b", LANE, state="submitted")
    assert journal.adoption.spare("b", [("line-0", outcome())]) == [None]
    ready = journal.adoption.reuse([(one.custom_ids[0], LANE, fingerprint) for one in asked])
    assert len(ready) == 1
    places = [journal.answers.places(one.custom_ids)[0] for one in asked]
    assert sorted(map(str, places)) == ["answered", "lane"]


def test_an_account_is_looked_through_again_when_its_list_may_have_lagged() -> None:
    config = settings(make_app("due", batchq_create_grace=90))
    due = partial(search_is_due, of="x", settings=config)
    assert due(Search(of="", looks=2, at=0), now=0)
    assert not due(Search(of="x", looks=1, at=0), now=89_000)
    assert due(Search(of="x", looks=1, at=0), now=90_000)
    assert not due(Search(of="x", looks=2, at=0), now=900_000)
