"""Each step of the journey in this process, on a real broker that no worker reads."""

from __future__ import annotations

import base64
import json
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from openai import OpenAI

from batchq.decide.poll import longest_wait
from batchq.flow.fetch import fetch
from batchq.flow.flush import flush
from batchq.flow.glance import Glance
from batchq.flow.poll import poll
from batchq.flow.rescue import rescue
from batchq.flow.resume import resume
from batchq.journal import BatchRecord, Journal, journal_of
from batchq.overview import status
from batchq.prompt import Lane
from batchq.provider.client import provider_for
from batchq.settings.config import settings
from tests.apps.base import make_app
from tests.harness import Emulator, Server, wait_until
from tests.journals import LANE, Asked, capture, capture_many, chat, ids, outcomes

STEPS: dict[str, Callable[..., None]] = {
    f"batchq.{step.__name__}": step for step in (flush, poll, fetch, resume, rescue)
}
EMBEDDINGS = Lane(account="default", endpoint="/v1/embeddings", model="text-embedding-3-small")


@dataclass(frozen=True)
class Wakeup:
    """A message of ours as it lies in the broker."""

    verb: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    eta: datetime | None


class Steps:
    """An app whose steps are taken here, one after the other, when the test says so."""

    def __init__(self, server: Server, emulator: Emulator, app: Celery[Any]) -> None:
        self.server, self.emulator, self.app = server, emulator, app
        app.finalize()
        self.longest = timedelta(0)

    @property
    def journal(self) -> Journal:
        return journal_of(self.app)

    def wakeups(self) -> list[Wakeup]:
        """Take all of our messages out of the broker."""
        found: list[Wakeup] = []
        while (raw := self.server.client.rpop("batchq")) is not None:
            message = json.loads(str(raw))
            headers = message["headers"]
            args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
            eta = headers["eta"] and datetime.fromisoformat(headers["eta"])
            found.append(Wakeup(headers["task"], tuple(args), kwargs, eta))
            if eta:
                self.longest = max(self.longest, eta - datetime.now(UTC))
        return found

    def step(self) -> bool:
        """Take every step that waits, whether its time has come or not."""
        wakeups = self.wakeups()
        for wakeup in wakeups:
            STEPS[wakeup.verb](self.app, *wakeup.args, **wakeup.kwargs)
        return bool(wakeups)

    def until(self, condition: Callable[[], Any], description: str) -> Any:
        def holds() -> Any:
            self.step()
            return condition()

        return wait_until(holds, description=description)

    def advance(self, by: timedelta) -> None:
        """Let time pass at once."""
        self.emulator.advance(by)
        self.journal.clock.advance(by)

    def until_over(self) -> list[dict[str, str]]:
        """Go on until no batch is open; returns all batches, oldest first."""
        self.until(lambda: not self.journal.batches.open(), "all batches are over")
        records = self.journal.batches.closed(100)
        return [self.raw(record.id) for record in reversed(records)]

    def raw(self, batch_id: str) -> dict[str, str]:
        found = self.journal.store.redis.hgetall(self.journal.store.batch_keys(batch_id)[0])
        return {name.decode(): value.decode() for name, value in found.items()}

    def set(self, batch_id: str, **fields: Any) -> None:
        self.journal.store.redis.hset(self.journal.store.batch_keys(batch_id)[0], mapping=fields)

    def only(self) -> BatchRecord:
        (record,) = self.journal.batches.open()
        return record

    def submitted(self) -> BatchRecord:
        """Seal and submit all that waits, as one batch."""
        flush(self.app, everything=True)
        self.until(lambda: self.only().state == "submitted", "the batch is submitted")
        return self.only()

    def resumed(self) -> list[str]:
        """The tasks whose messages were sent, in order."""
        raw = self.server.client.lrange("celery", 0, -1)
        return [json.loads(str(one))["headers"]["id"] for one in reversed(list(raw))]


@pytest.fixture
def make(server: Server, emulator: Emulator) -> Callable[..., Steps]:
    """Makes an app with settings of its own; its one account has `limits`."""

    def made(limits: dict[str, Any] | None = None, **options: Any) -> Steps:
        accounts = {"default": {"limits": limits or {}}}
        options = {"batchq_poll_first": 0.05, "batchq_poll_longest": 0.3, **options}
        return Steps(server, emulator, make_app("flow", batchq_accounts=accounts, **options))

    return made


@pytest.fixture
def steps(make: Callable[..., Steps]) -> Steps:
    return make()


# When a lane is flushed


def test_a_lane_is_flushed_when_it_is_full(make: Callable[..., Steps]) -> None:
    steps = make(batchq_flush_after=None, batchq_flush_prompts=3)
    capture_many(steps.journal, 2)
    flush(steps.app)
    assert steps.journal.batches.open() == []
    capture(steps.journal)
    flush(steps.app)
    assert steps.only().lines == 3


def test_a_lane_is_flushed_when_it_is_as_large_as_a_file(make: Callable[..., Steps]) -> None:
    steps = make({"bytes": 1_000}, batchq_flush_after=None)
    capture(steps.journal, chat("x" * 300))
    flush(steps.app)
    assert steps.journal.batches.open() == []
    capture(steps.journal, chat("x" * 600))
    flush(steps.app)
    assert steps.journal.batches.open() != []


def test_a_lane_is_flushed_when_it_is_old(make: Callable[..., Steps]) -> None:
    steps = make(batchq_flush_after=0.3)
    capture(steps.journal)
    flush(steps.app)
    assert steps.journal.batches.open() == []

    def flushed() -> bool:
        flush(steps.app)
        return bool(steps.journal.batches.open())

    wait_until(flushed, description="the lane is flushed")


def test_what_found_no_room_at_night_goes_at_the_next_ticks(make: Callable[..., Steps]) -> None:
    """With a time of the day and no age, the rest of a large lane waited for the next day."""
    steps = make(
        {"lines": 2, "enqueued_tokens": 100}, batchq_flush_after=None, batchq_flush_at="02:30"
    )
    asked = [capture(steps.journal, tokens=40) for _ in range(5)]
    flush(steps.app)
    assert steps.journal.batches.open() == [], "it is not yet time"
    flush(steps.app, everything=True)
    assert steps.only().lines == 2
    steps.until_over()
    late = capture(steps.journal, lane=EMBEDDINGS, task_id="late")

    def gone() -> bool:
        flush(steps.app)
        steps.step()
        return not [lane for lane in steps.journal.lanes.all() if lane.lane == LANE]

    wait_until(gone, description="all that waited then is gone")
    steps.until_over()
    assert set(steps.resumed()) == {one.task_id for one in asked}
    assert steps.journal.answers.places(late.custom_ids) == ["lane"], "it came later"


def test_a_paused_lane_goes_on_after_its_pause(make: Callable[..., Steps]) -> None:
    steps = make(batchq_flush_after=None, batchq_flush_at="02:30")
    capture(steps.journal)
    steps.journal.lanes.pause(LANE, timedelta(milliseconds=300))
    flush(steps.app, everything=True)
    assert steps.journal.batches.open() == []

    def flushed() -> bool:
        flush(steps.app)
        return bool(steps.journal.batches.open())

    wait_until(flushed, description="the lane is flushed")


def test_a_lane_of_an_account_that_is_gone_keeps_its_prompts(steps: Steps) -> None:
    gone = Lane(account="gone", endpoint=LANE.endpoint, model=LANE.model)
    asked, other = capture(steps.journal, lane=gone), capture(steps.journal)
    flush(steps.app, everything=True)
    steps.until_over()
    assert steps.journal.answers.places(asked.custom_ids) == ["lane"]
    assert steps.journal.answers.places(other.custom_ids) == ["answered"]


# What is in a file


@pytest.mark.parametrize(
    ("limits", "lines"),
    [
        ({"lines": 3}, [3, 3, 1]),
        ({"bytes": 1_200}, [5, 2]),
        ({"enqueued_tokens": 1_000_000}, [7]),
        ({}, [7]),
    ],
)
def test_a_lane_is_split_by_the_provider_s_limits(
    make: Callable[..., Steps], limits: dict[str, Any], lines: list[int]
) -> None:
    steps = make(limits, batchq_delete_files=False)
    asked = [capture(steps.journal, chat("x" * 50)) for _ in range(7)]
    assert asked[0].prompts[0].size == 233
    flush(steps.app, everything=True)
    batches = steps.until_over()
    assert sorted((int(batch["lines"]) for batch in batches), reverse=True) == lines
    for batch in batches:
        content = downloaded(steps, batch["input_file_id"])
        assert len(content.splitlines()) == int(batch["lines"])
        assert len(content) == int(batch["bytes"])
    assert sorted(steps.resumed()) == sorted(one.task_id for one in asked)
    assert steps.emulator.ledger()["duplicates"] == {}


def test_embeddings_are_split_by_their_inputs(make: Callable[..., Steps]) -> None:
    steps = make({"embedding_inputs": 5})
    body = json.dumps({"model": EMBEDDINGS.model, "input": ["a", "b"]}).encode()
    for _ in range(5):
        capture(steps.journal, body, lane=EMBEDDINGS, inputs=2)
    flush(steps.app, everything=True)
    assert sorted(int(batch["lines"]) for batch in steps.until_over()) == [1, 2, 2]


def test_a_file_has_one_model_and_one_endpoint(make: Callable[..., Steps]) -> None:
    steps = make(batchq_delete_files=False)
    other = Lane(account="default", endpoint=LANE.endpoint, model="gpt-6-luna")
    responses = Lane(account="default", endpoint="/v1/responses", model=LANE.model)
    labelled = Lane(account="default", endpoint=LANE.endpoint, model=LANE.model, label="urgent")
    asking = json.dumps({"model": LANE.model, "input": "x"}).encode()
    for _ in range(2):
        capture(steps.journal)
        capture(steps.journal, lane=other)
        capture(steps.journal, lane=labelled)
        capture(steps.journal, asking, lane=responses)
    flush(steps.app, everything=True)
    batches = steps.until_over()
    assert len(batches) == 4
    for batch in batches:
        rows = [json.loads(line) for line in downloaded(steps, batch["input_file_id"]).splitlines()]
        assert len({(row["url"], row["body"]["model"], row["method"]) for row in rows}) == 1
        assert len({row["custom_id"] for row in rows}) == 2
        assert batch["status"] == "completed"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m",\n "messages": []}',
        b'{"model": "m", "temperature": NaN}',
        b'{"model": "m", "temperature": Infinity}',
        b'{"model": "m", "messages": ',
        b'{"model": "m", "messages": "\xff"}',
        b'{"model": "m", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"messages": []}',
        b"[]",
        b"",
    ],
)
def test_a_line_that_cannot_be_read_back_fails_alone(steps: Steps, body: bytes) -> None:
    """One such line made the whole file unreadable, or stopped its flush for good."""
    first, bad, last = capture(steps.journal), capture(steps.journal, body), capture(steps.journal)
    flush(steps.app, everything=True)
    (batch,) = steps.until_over()
    assert batch["status"] == "completed"
    assert [one.status_code for one in known(steps, first, bad, last)] == [200, 400, 200]
    assert set(steps.emulator.ledger()["lines"]) == set(ids([first, last]))


def test_a_file_is_never_in_memory_whole(steps: Steps) -> None:
    """It is written, read back and uploaded a few megabytes at a time."""
    body = chat("x" * 1_000_000)
    for _ in range(60):
        capture(steps.journal, body)
    flush(steps.app, everything=True)
    tracemalloc.start()
    steps.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert steps.only().bytes > 60_000_000
    assert steps.only().input_file_id
    assert peak < 30_000_000


def test_a_prompt_whose_body_is_gone_does_not_wait_for_good(steps: Steps) -> None:
    """Its body ran out before the rest of its journal; it was in no file, and had no answer."""
    stays, gone = capture(steps.journal), capture(steps.journal)
    steps.journal.store.redis.delete(steps.journal.store.bodies_key(gone.task_id))
    flush(steps.app, everything=True)
    steps.until_over()
    assert [one.status_code for one in known(steps, stays, gone)] == [200, 400]
    assert sorted(steps.resumed()) == sorted([stays.task_id, gone.task_id])


def test_a_batch_nobody_waits_for_is_not_sent(steps: Steps) -> None:
    asked = capture_many(steps.journal, 2)
    flush(steps.app, everything=True)
    for one in asked:
        steps.journal.tasks.drop(one.task_id)
    (batch,) = steps.until_over()
    assert batch["note"] == "nobody waits for any of its prompts"
    ledger = steps.emulator.ledger()
    assert (ledger["uploads"], ledger["batches_created"]) == (0, 0)


def test_what_is_created_carries_our_id(steps: Steps) -> None:
    capture(steps.journal)
    record = steps.submitted()
    provider = provider_for(settings(steps.app), "default")
    found = provider.retrieve(record.provider_id)
    assert found.metadata["batchq"] == record.id
    assert found.metadata["prompts"] == "1"


# How much is queued


def test_no_more_is_queued_than_the_provider_takes(make: Callable[..., Steps]) -> None:
    steps = make({"enqueued_tokens": {LANE.model: 100}})
    for _ in range(5):
        capture(steps.journal, tokens=30)
    steps.emulator.fault("stuck_in_progress")
    flush(steps.app, everything=True)
    assert steps.only().tokens == 90
    flush(steps.app)
    assert steps.only().tokens == 90, "there is room for 10, and a prompt needs 30"
    steps.step()
    steps.emulator.lift("stuck_in_progress")

    def answered() -> bool:
        flush(steps.app)
        return steps.journal.tallies.counters().get("answered") == 5

    steps.until(answered, "all are answered")


def test_a_prompt_that_seems_too_large_gets_its_try(make: Callable[..., Steps]) -> None:
    steps = make({"enqueued_tokens": 10})
    capture(steps.journal, tokens=30)
    flush(steps.app, everything=True)
    assert [batch["status"] for batch in steps.until_over()] == ["completed"]


def test_a_refusal_teaches_the_limit_and_takes_no_attempt(make: Callable[..., Steps]) -> None:
    steps = make(batchq_poll_longest=60)
    steps.emulator.fault("token_limit_exceeded", limit=50)
    asked = [capture(steps.journal, tokens=40) for _ in range(3)]
    flush(steps.app, everything=True)
    steps.until_over()
    assert steps.journal.lanes.learned_limit(LANE) == 50
    assert steps.journal.lanes.all()[0].paused
    assert attempts(steps, asked) == [0, 0, 0]

    def answered() -> bool:
        steps.advance(timedelta(minutes=1))
        flush(steps.app)
        return steps.journal.tallies.counters().get("answered") == 3

    steps.until(answered, "all are answered")
    assert [batch["tokens"] for batch in steps.until_over()] == ["120", "40", "40", "40"]


# What is refused, or not known


def test_a_refused_create_waits_and_says_why(steps: Steps) -> None:
    steps.emulator.fault("unauthorized", call="create", times=3)
    asked = capture(steps.journal)
    flush(steps.app, everything=True)
    steps.until(lambda: steps.journal.pauses.get("default"), "its account is paused")
    (first,) = steps.until_over()
    assert "invalid_api_key" in first["note"]
    assert attempts(steps, [asked]) == [0]

    def answered() -> bool:
        flush(steps.app)
        return steps.journal.tallies.counters().get("answered") == 1

    steps.until(answered, "it is answered")
    *refused, batch = steps.until_over()
    assert [one["status"] for one in refused] == ["paused"] * 3
    assert (batch["status"], batch["note"]) == ("completed", "")


def test_a_long_pause_is_kept_and_no_message_is_held_for_it(steps: Steps) -> None:
    """The batch was tried again after 30 s, however long the provider had asked us to wait."""
    steps.emulator.fault("create_429", retry_after=600, times=None)
    capture(steps.journal)
    flush(steps.app, everything=True)
    steps.until(lambda: "429" in steps.only().note, "the create was refused")
    assert timedelta(seconds=590) < steps.journal.batches.due_in(steps.only().id)
    for _ in range(3):
        assert steps.step(), "it is woken early, and only re-arms itself"
    assert steps.emulator.fired("create_429") == 1
    assert timedelta(seconds=20) < steps.longest <= timedelta(seconds=30)


@pytest.mark.parametrize("grace", [0, 0.5])
def test_a_lost_create_is_looked_for(make: Callable[..., Steps], grace: float) -> None:
    """However short the grace: the list is looked through before anything is created again."""
    steps = make(batchq_create_grace=grace)
    capture(steps.journal)
    steps.emulator.fault("create_drop_after")
    flush(steps.app, everything=True)
    assert [batch["status"] for batch in steps.until_over()] == ["completed"]
    assert steps.emulator.ledger()["batches_created"] == 1


def test_a_batch_that_was_created_twice_runs_once(steps: Steps) -> None:
    """Two answers were lost for longer than the grace: the first is kept, the other cancelled."""
    capture(steps.journal)
    steps.emulator.fault("stuck_validating", times=None)
    flush(steps.app, everything=True)
    record = steps.only()
    provider = provider_for(settings(steps.app), "default")
    steps.until(lambda: steps.only().state == "submitted", "it is submitted")
    second = provider.create(
        file_id=steps.only().input_file_id,
        endpoint=LANE.endpoint,
        batch_key=record.id,
        metadata={},
        expires_after=None,
    )
    first = steps.only().provider_id
    steps.set(record.id, state="uploaded", provider_id="", create_intent_at=1)
    flush(steps.app, record.id)
    steps.until(lambda: steps.only().state == "submitted", "one is found")
    kept = steps.only().provider_id
    assert kept in {first, second.id}
    (other,) = {first, second.id} - {kept}
    assert provider.retrieve(other).status in {"cancelling", "cancelled"}
    assert provider.retrieve(kept).status == "validating"


# poll


def test_an_older_chain_of_polls_ends(steps: Steps) -> None:
    capture(steps.journal)
    record = steps.submitted()
    steps.wakeups()
    poll(steps.app, record.id, "an older one")
    poll(steps.app, "nobody", record.chain)
    assert steps.wakeups() == []
    poll(steps.app, record.id, record.chain)
    assert len(steps.wakeups()) == 1


def test_a_poll_that_comes_twice_goes_on_once(steps: Steps) -> None:
    """Each of the two armed a next one, and a batch had more and more polls."""
    capture(steps.journal)
    steps.emulator.fault("stuck_in_progress")
    record = steps.submitted()
    for _ in range(3):
        steps.wakeups()
        for _ in range(2):
            poll(steps.app, record.id, record.chain)
        (following,) = steps.wakeups()
        record = steps.only()
        assert following.args == (record.id, record.chain)


def test_polls_of_an_old_batch_are_minutes_apart_and_no_message_is(
    make: Callable[..., Steps],
) -> None:
    steps = make(batchq_poll_first=5, batchq_poll_longest=300)
    capture(steps.journal)
    steps.emulator.fault("stuck_in_progress")
    record = steps.submitted()
    (first,) = steps.wakeups()
    assert first.eta is not None
    assert steps.journal.batches.due_in(record.id) <= timedelta(seconds=5)
    for age, pause in ((0, 5), (100, 25), (1_000, 250), (10_000, 300)):
        steps.set(record.id, submitted_at=steps.journal.clock.now() - age * 1_000)
        steps.journal.store.redis.zadd(steps.journal.store.key("batches"), {record.id: 1})
        poll(steps.app, record.id, steps.only().chain)
        due = steps.journal.batches.due_in(record.id).total_seconds()
        assert pause - 2 < due <= pause + 1
        steps.wakeups()
    assert steps.longest <= timedelta(seconds=30)
    steps.emulator.fault("retrieve_500", times=None)
    poll(steps.app, record.id, steps.only().chain)
    assert steps.emulator.fired("retrieve_500") == 0, "it came early, and asked nobody"
    assert len(steps.wakeups()) == 1


def test_a_step_on_a_batch_that_another_works_on_ends(steps: Steps) -> None:
    capture(steps.journal)
    record = steps.submitted()
    steps.wakeups()
    with steps.journal.batches.lease(record.id):
        poll(steps.app, record.id, record.chain)
        fetch(steps.app, record.id)
        flush(steps.app, record.id)
    assert steps.wakeups() == []


# fetch


def finished(steps: Steps, *asked: Asked) -> BatchRecord:
    """A batch that is at its end, and not read yet."""
    record = steps.submitted()
    provider = provider_for(settings(steps.app), "default")
    wait_until(
        lambda: provider.retrieve(record.provider_id).status in {"completed", "failed"},
        description="the provider is done",
    )
    steps.wakeups()
    poll(steps.app, record.id, steps.only().chain)
    assert steps.only().state == "finished"
    assert [one.verb for one in steps.wakeups()] == ["batchq.fetch"]
    return record


def test_a_batch_is_read_once(steps: Steps) -> None:
    asked = capture_many(steps.journal, 3)
    record = finished(steps)
    for _ in range(3):
        fetch(steps.app, record.id)
    assert steps.raw(record.id)["answered"] == "3"
    assert sorted(steps.resumed()) == sorted(one.task_id for one in asked)
    assert steps.journal.tallies.counters() == {"captured": 3, "answered": 3}


def test_a_reading_that_broke_off_is_read_again(steps: Steps) -> None:
    """We die when all is answered, before the batch is closed: reading it again is harmless."""
    asked = capture_many(steps.journal, 3)
    record = finished(steps)
    lines = list(steps.journal.lines.ids(record.id))
    steps.emulator.fault("call_error", call="delete_file", status=500, times=3)
    fetch(steps.app, record.id)
    before = known(steps, *asked)
    steps.set(record.id, state="finished")
    steps.journal.store.redis.zadd(steps.journal.store.key("batches"), {record.id: 1})
    fetch(steps.app, record.id)
    assert known(steps, *asked) == before
    assert steps.raw(record.id)["already"] == "3"
    assert list(steps.journal.lines.ids(record.id)) == lines
    assert len(steps.resumed()) == 3


@pytest.mark.parametrize("delete", [True, False])
def test_files_are_deleted_once_they_are_read(make: Callable[..., Steps], *, delete: bool) -> None:
    steps = make(batchq_delete_files=delete)
    capture_many(steps.journal, 2)
    flush(steps.app, everything=True)
    (batch,) = steps.until_over()
    client = OpenAI(max_retries=0)
    assert (batch["input_file_id"] in {file.id for file in client.files.list()}) is not delete
    assert (len(client.files.list().data) == 0) is delete


def test_the_files_stay_where_another_reads_them(steps: Steps) -> None:
    """A worker slept past its lease in a fetch, and deleted what another was to read."""
    capture(steps.journal)
    record = finished(steps)
    steps.emulator.fault("slow", call="content", seconds=1)
    reading = threading.Thread(target=fetch, args=(steps.app, record.id))
    reading.start()
    wait_until(lambda: steps.emulator.fired("slow"), description="the download is under way")
    steps.journal.store.redis.set(steps.journal.store.key("lease", "batch", record.id), "another's")
    reading.join()
    assert steps.raw(record.id)["state"] == "finished"
    assert len(OpenAI(max_retries=0).files.list().data) == 2
    steps.journal.store.redis.delete(steps.journal.store.key("lease", "batch", record.id))
    fetch(steps.app, record.id)
    assert steps.raw(record.id)["state"] == "closed"
    assert OpenAI(max_retries=0).files.list().data == []


def test_a_download_that_never_works_ends_with_asking_again(steps: Steps) -> None:
    """A batch whose file could never be read kept its prompts for ever."""
    asked = capture(steps.journal)
    steps.emulator.fault("content_502", times=2)
    record = finished(steps)
    fetch(steps.app, record.id)
    assert steps.only().state == "finished"
    assert "502" in steps.only().note
    steps.set(record.id, finished_at=1)
    steps.journal.store.redis.zadd(steps.journal.store.key("batches"), {record.id: 1})
    fetch(steps.app, record.id)
    assert steps.journal.answers.places(asked.custom_ids) == ["lane"]
    assert attempts(steps, [asked]) == [1]


def test_a_row_of_another_batch_answers_nobody(steps: Steps) -> None:
    """A row with the id of a prompt that waits elsewhere took it out of its own lane's books."""
    other = capture(steps.journal, lane=EMBEDDINGS, task_id="elsewhere")
    steps.journal.lanes.pause(EMBEDDINGS, timedelta(minutes=1))
    asked = capture(steps.journal)
    steps.emulator.fault("unknown_custom_id", custom_id=other.custom_ids[0])
    flush(steps.app, everything=True)
    (batch,) = steps.until_over()
    assert (batch["answered"], batch["unknown"]) == ("1", "1")
    assert steps.journal.answers.places(other.custom_ids) == ["lane"]
    assert known(steps, asked)[0].succeeded


def test_a_batch_that_is_not_found_for_a_moment_is_not_asked_again(steps: Steps) -> None:
    """One 404, or a wrong key for a minute, and the whole batch was asked and paid for again."""
    asked = capture_many(steps.journal, 2)
    steps.emulator.fault("stuck_finalizing")
    record = steps.submitted()
    steps.emulator.fault("retrieve_404", times=4)
    steps.until(lambda: steps.emulator.fired("retrieve_404") == 4, "it is not found four times")
    steps.emulator.lift("stuck_finalizing")
    steps.until(lambda: steps.only().state == "finished", "it is found again")
    steps.emulator.fault("retrieve_404", times=2)
    steps.until_over()
    assert steps.raw(record.id)["answered"] == "2"
    assert steps.emulator.fired("retrieve_404") == 2
    assert attempts(steps, asked) == [0, 0]


def test_a_batch_that_is_gone_for_good_is_asked_again(make: Callable[..., Steps]) -> None:
    steps = make(batchq_files_grace=0)
    asked = capture(steps.journal)
    steps.emulator.fault("batch_404")
    flush(steps.app, everything=True)
    (batch,) = steps.until_over()
    assert "404" in batch["note"] or batch["status"] == "unknown"
    assert steps.journal.answers.places(asked.custom_ids) == ["lane"]
    assert attempts(steps, [asked]) == [1]


def test_a_batch_that_is_neither_done_nor_cancelled_is_given_up(steps: Steps) -> None:
    asked = capture(steps.journal)
    steps.emulator.fault("stuck_in_progress", at=0)
    steps.emulator.fault("slow_cancelling")
    steps.emulator.fault("cancel_500", times=1)
    record = steps.submitted()
    steps.set(record.id, submitted_at=steps.journal.clock.now() - 26 * 3_600_000)
    steps.until(lambda: steps.only().status == "cancelling", "it is to be cancelled")
    assert steps.emulator.fired("cancel_500") == 1
    steps.set(record.id, submitted_at=steps.journal.clock.now() - 28 * 3_600_000)
    steps.until_over()
    assert steps.journal.answers.places(asked.custom_ids) == ["lane"]


# rescue


def test_a_batch_that_nobody_submits_is_found(steps: Steps) -> None:
    """It was sealed, and the message that was to submit it is gone."""
    capture(steps.journal)
    flush(steps.app, everything=True)
    steps.server.client.delete("batchq")

    def woken() -> bool:
        rescue(steps.app)
        return steps.step()

    wait_until(woken, description="it is woken")
    assert [batch["status"] for batch in steps.until_over()] == ["completed"]
    assert steps.emulator.ledger()["batches_created"] == 1


@pytest.mark.parametrize("state", ["submitted", "finished"])
def test_a_batch_whose_messages_are_lost_is_found(steps: Steps, state: str) -> None:
    capture(steps.journal)
    steps.submitted()
    steps.until(lambda: steps.only().state == state, f"the batch is {state}")
    steps.server.client.delete("batchq")

    def woken() -> bool:
        rescue(steps.app)
        return steps.step()

    wait_until(woken, description="it is woken")
    assert [batch["status"] for batch in steps.until_over()] == ["completed"]


def test_a_late_batch_is_not_woken_at_every_tick(steps: Steps) -> None:
    """A long Celery queue filled up with the same step again and again."""
    capture(steps.journal)
    flush(steps.app, everything=True)
    steps.wakeups()
    overdue = 3 * settings(steps.app).tick
    late = Glance(steps.journal).overdue
    wait_until(lambda: late(overdue), description="it is late")
    for _ in range(5):
        rescue(steps.app)
    assert [one.verb for one in steps.wakeups()] == ["batchq.flush"]


def test_a_task_that_has_its_answers_and_no_message_is_found(steps: Steps) -> None:
    asked = capture(steps.journal)
    flush(steps.app, everything=True)
    steps.until_over()
    steps.server.client.delete("celery")
    steps.journal.store.redis.zadd(steps.journal.store.key("resuming"), {asked.task_id: 1})
    rescue(steps.app)
    steps.until(lambda: steps.resumed() == [asked.task_id], "its message is sent again")
    rescue(steps.app)
    assert not steps.step()


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("unauthorized", {"call": "list", "times": 3}),
        ("call_error", {"call": "list", "status": 429, "retry_after": 0, "times": 3}),
        ("call_error", {"call": "list", "status": 400, "times": 2}),
        # More often than a batch may be refused: the prompts got the error, and the batch ran.
        ("call_error", {"call": "list", "status": 400, "times": 8}),
        ("list_500", {"times": 3}),
        ("call_drop_after", {"call": "list", "times": 3}),
    ],
)
def test_a_refused_list_is_no_reason_to_create_again(
    steps: Steps, fault: str, options: dict[str, Any]
) -> None:
    """The answer to a create was lost, and the look for the batch was refused.

    The refusal wiped out the intent, so the next try made a second batch, and all was paid twice.
    """
    steps.emulator.fault("create_drop_after")
    capture(steps.journal)
    flush(steps.app, everything=True)
    steps.until(lambda: steps.only().create_intent_at, "the batch was created")
    # From here on: a list that is looked through for other reasons has come before.
    steps.emulator.fault(fault, **options)
    steps.until_over()
    ledger = steps.emulator.ledger()
    assert ledger["batches_created"] == 1
    assert [line["ok"] for line in ledger["lines"].values()] == [1]


def test_a_task_that_celery_has_ended_is_not_resumed(steps: Steps) -> None:
    """A hard time limit or a revoke ended it, and nobody told the journal."""
    asked = capture(steps.journal)
    flush(steps.app, everything=True)
    steps.until_over()
    # The walk that looks after results would find it as well; the next one is an hour away.
    rescue(steps.app)
    steps.server.client.delete("celery")
    steps.app.backend.mark_as_failure(asked.task_id, TimeoutError("a hard time limit"))
    steps.journal.store.redis.zadd(steps.journal.store.key("resuming"), {asked.task_id: 1})
    rescue(steps.app)
    steps.step()
    assert steps.resumed() == []
    assert steps.journal.resuming.count() == 0


def test_no_task_is_forgotten_without_an_answer(make: Callable[..., Steps]) -> None:
    """Its lane's account was gone for as long as journals are kept, and nobody was told."""
    steps = make(batchq_keep_journal=60 * 3600)
    asked, waiting = capture(steps.journal), capture(steps.journal)
    flush(steps.app)
    keep = timedelta(hours=60)
    now = steps.journal.clock.now()
    client, queue = steps.journal.store.redis, steps.journal.store.key("waiting")
    for task_id in (asked.task_id, waiting.task_id):
        client.zadd(queue, {task_id: now - int(keep.total_seconds() * 950)})
    # The one has not been written to since; the other went through another batch meanwhile.
    client.pexpire(steps.journal.store.task_key(asked.task_id), int(keep.total_seconds() * 50))
    rescue(steps.app)
    (outcome,) = outcomes(steps.journal, asked)
    assert outcome is not None
    assert outcome.status_code == 504
    assert b"not_answered_in_time" in outcome.body
    assert asked.task_id in steps.resumed()
    assert outcomes(steps.journal, waiting) == [None]


def test_what_waits_too_long_shows(steps: Steps) -> None:
    asked = capture_many(steps.journal, 2)
    assert status(steps.app).overdue == 0
    ago = (
        steps.journal.clock.now()
        - longest_wait(settings(steps.app)) / timedelta(milliseconds=1)
        - 1
    )
    steps.journal.store.redis.zadd(steps.journal.store.key("waiting"), {asked[0].task_id: ago})
    assert status(steps.app).overdue == 1


def test_two_rescues_at_once_are_harmless(steps: Steps) -> None:
    asked = capture_many(steps.journal, 2)
    flush(steps.app, everything=True)
    for _ in range(2):
        for wakeup in steps.wakeups():
            for _ in range(3):
                STEPS[wakeup.verb](steps.app, *wakeup.args, **wakeup.kwargs)
    steps.until_over()
    ledger = steps.emulator.ledger()
    assert (ledger["batches_created"], ledger["uploads"]) == (1, 1)
    assert sorted(steps.resumed()) == sorted(one.task_id for one in asked)


# Helpers


def known(steps: Steps, *asked: Asked) -> list[Any]:
    return [one for each in asked for one in outcomes(steps.journal, each)]


def attempts(steps: Steps, asked: list[Asked]) -> list[int]:
    tasks = [
        steps.journal.store.redis.hgetall(steps.journal.store.task_key(one.task_id))
        for one in asked
    ]
    return [int(task[b"0:attempts"]) for task in tasks]


def downloaded(steps: Steps, file_id: str) -> bytes:
    return OpenAI(max_retries=0).files.content(file_id).read()
