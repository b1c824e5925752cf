"""Bodies of megabytes, kept outside of Redis from their capture to the end of their task.

Images in base64 filled a Redis of 600 MB with 150 tasks, and every task that asked then failed.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import random
import signal
import stat
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import openai
import pytest
from cryptography.fernet import Fernet
from openai import OpenAI
from redis.exceptions import OutOfMemoryError

import batchq
from batchq.capture.parked import BATCHED
from batchq.errors import StorageAway
from batchq.flow.flush import flush
from batchq.flow.rescue import rescue
from batchq.journal import BatchRecord, Journal
from batchq.prompt import Outcome, pack
from batchq.settings.limits import Limits
from tests.capture.bench import Bench, ask
from tests.harness import ROOT
from tests.journals import LANE, capture, chat, claim, message, outcome, prompt

LARGE = 10_000
MakeBench = Callable[..., Bench]


def text(about: str) -> str:
    return f"{about} " * LARGE


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def large(make_bench: MakeBench, storage: Path) -> Bench:
    return make_bench(batchq_large_bodies=str(storage), batchq_large_body_bytes=LARGE)


def bodies(storage: Path) -> list[Path]:
    """The files with bodies, oldest first; not the mark of those who share the storage."""
    return sorted(path for path in storage.glob("*/*") if not path.name.startswith("shared-"))


def of(storage: Path, task_id: str) -> Path:
    (found,) = (path for path in bodies(storage) if path.name.startswith(task_id))
    return found


def asking(bench: Bench, client: OpenAI) -> Any:
    @bench.task
    def describe(about: str) -> str:
        return ask(client, text(about))

    return describe


@pytest.fixture
def client() -> Iterator[OpenAI]:
    with OpenAI() as client:
        yield client


def sealed(journal: Journal, batch_id: str = "b", limits: Limits | None = None) -> BatchRecord:
    journal.lanes.seal(LANE, batch_id, limits=limits or Limits(), tokens=10**9)
    record = journal.batches.get(batch_id)
    assert record is not None
    return record


# The way of one


def test_a_large_body_goes_its_way(large: Bench, storage: Path, client: OpenAI) -> None:
    """It is not in Redis, its task gets its answer, and nothing of it is left."""
    journal = large.journal
    waiting = large.ask(asking(large, client), "one")
    in_redis = journal.store.redis.hvals(journal.store.bodies_key(waiting.id))
    assert sum(map(len, in_redis)) < 500
    ((_, custom_id),) = journal.tasks.open_prompts(waiting.id)
    question = journal.views.question(custom_id)
    assert question is not None
    assert json.loads(question)["messages"][0]["content"] == text("one")
    file = of(storage, waiting.id)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    large.answer()
    assert large.deliver()
    assert waiting.get()
    assert bodies(storage) == []


@pytest.mark.parametrize("kind", ["file", "local", "memory"])
def test_a_storage_may_be_a_url(
    make_bench: MakeBench, storage: Path, client: OpenAI, kind: str
) -> None:
    """`file` is a directory, the others are fsspec's: what it does for one it does for all."""
    where = f"{kind}://{storage}"
    bench = make_bench(batchq_large_bodies=where, batchq_large_body_bytes=LARGE)
    waiting = bench.ask(asking(bench, client), "one")

    def kept() -> list[str]:
        files = fsspec.filesystem(kind).find(str(storage))
        return [name for name in files if "/shared-" not in name]

    assert len(kept()) == 1
    bench.answer()
    assert bench.deliver()
    assert waiting.get()
    assert kept() == []


def test_a_small_body_stays_in_redis(large: Bench, storage: Path, client: OpenAI) -> None:
    @large.task
    def small() -> str:
        return ask(client, "short")

    assert large.run(small)
    assert bodies(storage) == []


def test_the_line_is_the_same_wherever_the_body_lies(large: Bench, make_bench: MakeBench) -> None:
    """An image, so to speak: nothing is gained by compressing it, and every byte counts."""
    noise = base64.b64encode(random.Random(7).randbytes(300_000)).decode()
    outside = capture(large.journal, chat(noise), task_id="outside")
    inside = capture(make_bench().journal, chat(noise), task_id="inside")
    lines = dict(large.journal.lines.of(sealed(large.journal)))
    assert lines[outside.custom_ids[0]] == lines[inside.custom_ids[0]].replace(
        b"inside-0", b"outside-0"
    )


def test_equal_requests_are_one_question(large: Bench, client: OpenAI) -> None:
    """A replay compares the digest of what is asked; the body need not be read for that."""
    runs = []

    @large.task
    def twice() -> tuple[str, str]:
        runs.append(1)
        first = ask(client, text("same"))
        return first, ask(client, text("other"))

    first, second = large.run(twice)
    assert first != second
    assert len(runs) == 3


def test_several_in_one_task_go_when_it_ends(large: Bench, storage: Path, client: OpenAI) -> None:
    @large.task
    def both() -> list[str]:
        return batchq.gather(*(partial(ask, client, text(name)) for name in ("one", "two")))

    waiting = large.ask(both)
    assert len(bodies(storage)) == 2
    large.answer()
    # The answers are paid for; until its task has read them, it may ask again.
    assert len(bodies(storage)) == 2
    assert large.deliver()
    assert len(set(waiting.get())) == 2
    assert bodies(storage) == []


# What may happen to a file


def lose(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def turn(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def swap(file: Path) -> None:
    """Put the body of a neighbour in its place."""
    (other,) = (path for path in bodies(file.parent.parent) if path != file)
    file.write_bytes(other.read_bytes())


@pytest.mark.parametrize("harm", [lose, cut, turn, empty, swap])
def test_one_file_is_not_what_it_was(
    large: Bench, storage: Path, client: OpenAI, harm: Callable[[Path], None]
) -> None:
    """Its task gets an error that says so, the other its answer; nothing else is ever sent."""
    describe = asking(large, client)
    harmed, whole = large.ask(describe, "harmed"), large.ask(describe, "whole")
    harm(of(storage, harmed.id))
    large.answer()
    assert large.deliver() == 2
    assert whole.get()
    with pytest.raises(openai.InternalServerError, match=r"was kept as .*Send the task again"):
        harmed.get()
    assert len(large.emulator.ledger()["lines"]) == 1


def test_a_task_may_ask_again_after_that(large: Bench, storage: Path, client: OpenAI) -> None:
    @large.task(bind=True, max_retries=1)
    def stubborn(self: Any) -> str:
        try:
            return ask(client, text("stubborn"))
        except openai.InternalServerError as error:
            raise self.retry(exc=error, countdown=0) from error

    waiting = large.ask(stubborn)
    lose(of(storage, waiting.id))
    while waiting.state != "SUCCESS":
        large.answer()
        assert large.deliver()
        assert waiting.state in {BATCHED, "RETRY", "SUCCESS"}, waiting.result
    assert waiting.get()


# What may happen to the storage


def held_back(bench: Bench) -> BatchRecord:
    """The one batch, sealed, after a flush that could not read its bodies."""
    flush(bench.app, everything=True)
    (batch,) = bench.journal.batches.open()
    flush(bench.app, batch.id)
    (batch,) = bench.journal.batches.open()
    assert batch.state == "sealed"
    return batch


def goes_on(bench: Bench, waiting: Any) -> None:
    """The task of a batch that was held back has its answer, once its bodies can be read."""
    bench.journal.clock.advance(timedelta(minutes=10))
    bench.answer()
    assert bench.deliver()
    assert waiting.get()


def test_a_storage_that_is_not_mounted_is_waited_for(
    large: Bench, storage: Path, client: OpenAI
) -> None:
    waiting = large.ask(asking(large, client), "one")
    storage.rename(storage.with_name("elsewhere"))
    storage.mkdir()  # The place where it is mounted is there.
    assert "it is not the one where other workers keep bodies" in held_back(large).note
    storage.rmdir()
    storage.with_name("elsewhere").rename(storage)
    goes_on(large, waiting)


def test_a_process_without_the_setting_waits_too(
    large: Bench, make_bench: MakeBench, client: OpenAI
) -> None:
    waiting = large.ask(asking(large, client), "one")
    assert "not set in this process" in held_back(make_bench()).note
    goes_on(large, waiting)


def test_two_workers_with_a_directory_each_find_out(
    large: Bench, make_bench: MakeBench, tmp_path: Path
) -> None:
    """The one that comes second fails its task in words, and asks nothing that nobody can read."""
    capture(large.journal, chat(text("first")))
    own = tmp_path / "own"
    own.mkdir()
    second = make_bench(batchq_large_bodies=str(own), batchq_large_body_bytes=LARGE)
    with pytest.raises(StorageAway, match="it is not the one where other workers keep bodies"):
        capture(second.journal, chat(text("second")))
    assert large.waiting() == 1
    assert list(own.glob("*/*")) == []


def test_a_task_that_cannot_keep_its_body_fails_in_words(
    make_bench: MakeBench, tmp_path: Path, client: OpenAI
) -> None:
    """And nothing of it is asked; a retry, when there is a place, gets through."""
    gone = tmp_path / "gone"
    bench = make_bench(batchq_large_bodies=str(gone), batchq_large_body_bytes=LARGE)
    describe = asking(bench, client)
    failed = bench.send(describe, "one")
    bench.deliver()
    with pytest.raises(StorageAway, match=r"gone \(batchq_large_bodies\) cannot be used: No such"):
        failed.get()
    assert bench.waiting() == 0
    gone.mkdir()
    assert bench.run(describe, "two")


# What nobody needs any more


def test_a_body_stays_as_long_as_it_may_be_asked_again(large: Bench, storage: Path) -> None:
    asked = capture(large.journal, chat(text("again")))
    batch = sealed(large.journal)
    before = dict(large.journal.lines.of(batch))
    words = large.journal.lanes.requeue(batch, asked.custom_ids, use_attempt=True)
    assert words == {asked.custom_ids[0]: "REQUEUED"}
    assert dict(large.journal.lines.of(sealed(large.journal, "b2"))) == before
    assert len(bodies(storage)) == 1


def settle(journal: Journal, task_id: str) -> None:
    journal.answers.add(LANE, [(f"{task_id}-0", outcome())])
    lease, claimed = claim(journal, task_id)
    assert claimed.word == "CLAIMED"
    assert journal.runs.settle(task_id, token=lease.token, state="SUCCESS", final=True) == "SETTLED"


def drop(journal: Journal, task_id: str) -> None:
    journal.tasks.drop(task_id)


def revoke(journal: Journal, task_id: str) -> None:
    assert journal.revocations.revoke(task_id, token="t").word == "REVOKED"


@pytest.mark.parametrize("end", [settle, drop, revoke])
def test_a_task_that_is_over_leaves_nothing(
    large: Bench, storage: Path, end: Callable[[Journal, str], None]
) -> None:
    over, other = (capture(large.journal, chat(text(name))) for name in ("over", "other"))
    end(large.journal, over.task_id)
    assert bodies(storage) == [of(storage, other.task_id)]


def test_a_retry_that_asks_anew_keeps_the_other_bodies(large: Bench, storage: Path) -> None:
    journal = large.journal
    asked = capture(journal, chat(text("bad")), chat(text("good")))
    journal.answers.add(LANE, [(one, outcome()) for one in asked.custom_ids])
    lease, _ = claim(journal, asked.task_id)
    journal.runs.settle(asked.task_id, token=lease.token, state="RETRY", final=False, ask_again=[0])
    (left,) = bodies(storage)
    assert left.name.startswith(asked.custom_ids[1])


def test_a_run_that_has_lost_its_task_leaves_nothing(large: Bench, storage: Path) -> None:
    lease, _ = claim(large.journal, "task")
    capturing: dict[str, Any] = {"message": message("task"), "next_number": 1}
    one = prompt("task", body=chat(text("one")))
    assert large.journal.runs.capture("task", token="another", prompts=[one], **capturing) == "LOST"
    assert bodies(storage) == []
    for _ in range(2):  # Also where the answer to a first try was lost on its way.
        large.journal.runs.capture("task", token=lease.token, prompts=[one], **capturing)
    assert len(bodies(storage)) == 1
    assert all(line for _, line in large.journal.lines.of(sealed(large.journal)))


def test_an_orphan_is_swept_after_a_day_and_nothing_else(
    large: Bench, storage: Path, tmp_path: Path, redis_url: str
) -> None:
    """A worker was killed between the write of the body and that of the journal."""
    asked = capture(large.journal, chat(text("mine")))
    die_at("capture.call", tmp_path / "proof", redis_url, storage)
    (orphan,) = set(bodies(storage)) - {of(storage, asked.task_id)}
    foreign = storage / "another-journal" / orphan.name
    foreign.parent.mkdir()
    foreign.write_bytes(b"another's")
    stranger = orphan.with_name("somebody's own")
    stranger.write_bytes(b"not ours")
    part = orphan.with_name(orphan.name + ".part")
    part.write_bytes(b"cut off")
    rescue(large.app)
    large.journal.clock.advance(timedelta(hours=23))
    rescue(large.app)
    assert orphan.exists()
    large.journal.clock.advance(timedelta(hours=2))
    rescue(large.app)
    assert not orphan.exists()
    assert not part.exists()
    assert foreign.exists()
    assert stranger.exists()
    assert all(line for _, line in large.journal.lines.of(sealed(large.journal)))


DIE = """
import sys
from tests.apps.base import make_app
from batchq.journal import journal_of
from tests.harness import ROOT
from tests.journals import capture, chat
app = make_app("dies", batchq_large_bodies=sys.argv[1], batchq_large_body_bytes=10_000)
capture(journal_of(app), chat("killed " * 10_000))
"""


def die_at(point: str, proof: Path, redis_url: str, storage: Path) -> None:
    order = f"{point}:1:kill:{proof}"
    ended = subprocess.run(
        [sys.executable, "-c", DIE, str(storage)],
        cwd=ROOT,
        env=os.environ | {"BATCHQ_CRASH_AT": order, "REDIS_URL": redis_url},
        start_new_session=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert proof.exists()


def test_what_a_lost_journal_kept_is_swept(large: Bench, storage: Path) -> None:
    journal = large.journal
    journal.adoption.epoch()
    capture(journal, chat(text("lost")))
    (lost,) = bodies(storage)
    journal.store.redis.flushall()
    journal.adoption.epoch()
    journal.clock.advance(timedelta(hours=25))
    kept = capture(journal, chat(text("kept")))
    assert journal.bodies.sweep() == 1
    assert not lost.exists()
    assert bodies(storage) == [of(storage, kept.task_id)]


def test_a_full_redis_leaves_nothing_in_the_storage(large: Bench, storage: Path) -> None:
    capture(large.journal, chat(text("early")))
    lease, _ = claim(large.journal, "late")
    large.journal.store.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            large.journal.runs.capture(
                "late",
                token=lease.token,
                message=message("late"),
                prompts=[prompt("late", body=chat(text("late")))],
                next_number=1,
            )
    finally:
        large.journal.store.redis.config_set("maxmemory", 0)
    assert len(bodies(storage)) == 1


def test_a_task_with_a_very_long_id_keeps_its_body_in_redis(large: Bench, storage: Path) -> None:
    task_id = "../" * 80
    asked = capture(large.journal, chat(text("long")), task_id=task_id)
    also = capture(large.journal, chat(text("odd")), task_id="../../odd id/é")
    lines = dict(large.journal.lines.of(sealed(large.journal)))
    assert all(lines[one.custom_ids[0]] for one in (asked, also))
    (file,) = bodies(storage)
    assert file.name.startswith("..%2F..%2Fodd%20id%2F%C3%A9-0.")


def test_what_lies_there_is_encrypted_too(
    make_bench: MakeBench, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LARGE_KEYS", Fernet.generate_key().decode())
    options = {"batchq_large_bodies": str(storage), "batchq_large_body_bytes": LARGE}
    bench = make_bench(batchq_encryption="env:LARGE_KEYS", **options)
    noise = base64.b64encode(random.Random(7).randbytes(30_000)).decode()
    asked = capture(bench.journal, chat(f"canary {noise}"))
    (file,) = bodies(storage)
    packed = pack(asked.prompts[0].body)
    assert file.read_bytes() != packed
    assert packed[1:40] not in file.read_bytes()
    ((_, line),) = bench.journal.lines.of(sealed(bench.journal))
    assert b"canary" in line


# How much there is of it


def test_large_bodies_fill_several_batches(large: Bench, storage: Path) -> None:
    """The file's limit counts what is outside too, and so do a lane and `batchq_flush_bytes`."""
    for number in range(10):
        capture(large.journal, chat("x" * 1_000_000), task_id=f"task{number}")
    (lane,) = large.journal.lanes.all()
    assert 10_000_000 < lane.bytes < 10_010_000
    limits = Limits(bytes=4_000_000)
    lines = [sealed(large.journal, f"b{number}", limits).lines for number in range(4)]
    assert lines == [3, 3, 3, 1]
    sizes = [
        [len(line) for _, line in large.journal.lines.of(batch)]
        for batch in large.journal.batches.open()
    ]
    assert all(sum(size) < 4_000_000 and min(size) > 1_000_000 for size in sizes)


def test_few_bodies_of_redis_are_in_memory_at_once(make_bench: MakeBench) -> None:
    """A few large ones among many small ones made one read of all of them, by their mean size."""
    journal = make_bench().journal
    for number in range(100):
        size = 3_000_000 if number % 10 == 0 else 10
        noise = random.Random(number).randbytes(size * 3 // 4)
        capture(journal, chat(base64.b64encode(noise).decode()))
    batch = sealed(journal)
    tracemalloc.start()
    try:
        assert sum(len(line) for _, line in journal.lines.of(batch)) == batch.bytes
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 25_000_000, "all at once are 30 MB, and more when they are unpacked"


def test_an_answer_of_30_megabytes_is_an_answer_as_any(large: Bench) -> None:
    """It stays in Redis, and the run that gets it has it whole."""
    asked = capture(large.journal, chat("much"))
    noise = base64.b64encode(random.Random(3).randbytes(22_500_000)).decode()
    given = Outcome(status_code=200, body=json.dumps({"text": noise}).encode())
    assert large.journal.answers.add(LANE, [(asked.custom_ids[0], given)]) == ["READY"]
    _, claimed = claim(large.journal, asked.task_id)
    assert claimed.entries[0].outcome == given


def test_a_worker_holds_no_body_of_a_task_that_waits(large: Bench, client: OpenAI) -> None:
    """The error that ends a body and its frames are a circle: its request lived, in five forms,
    until Python looked for circles, and a worker grew by 20 MB with each task of 5 MB.
    """
    one = f"{uuid.uuid4()} " * 10
    describe = asking(large, client)
    large.ask(describe, "warm")
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        large.ask(describe, one)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    size = len(text(one))
    assert most > 2 * size
    assert held < size / 2
