"""Encryption at rest: without a key, what Redis holds of prompts and answers says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from cryptography.fernet import Fernet

import batchq
from batchq.errors import ConfigurationError, KeyMissing
from batchq.journal import Journal
from batchq.journal.codec import Codec, codec_of
from batchq.journal.store import Store
from batchq.settings.config import settings
from tests.apps import encrypted
from tests.apps.base import make_app
from tests.harness import ROOT, Server, Stack, wait_until
from tests.journals import LANE, Asked, capture, chat, claim, outcome
from tests.outcomes import _texts

APP = "tests.apps.encrypted"
VARIABLE = "BATCHQ_TEST_KEYS"
CANARY = "canary-7f3a"


@pytest.fixture
def journal_with(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Journal]]:
    """Makes the journal of a process that has these keys."""
    clients: list[redis.Redis] = []

    def made(*keys: bytes) -> Journal:
        if keys:
            monkeypatch.setenv(VARIABLE, ",".join(key.decode() for key in keys))
        app = make_app("encrypted", batchq_encryption=f"env:{VARIABLE}" if keys else None)
        client = redis.Redis.from_url(server.url)
        clients.append(client)
        return Journal(Store(client, settings(app)))

    yield made
    for client in clients:
        client.close()


OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


def asked(journal: Journal) -> Asked:
    """A task that asked about the canary."""
    return capture(journal, chat(CANARY), chat(CANARY * 100))


def finish(journal: Journal, task: Asked) -> None:
    words = journal.answers.add(LANE, [(one, outcome(CANARY)) for one in task.custom_ids])
    assert words == ["ANSWERED", "READY"]


def lines(journal: Journal) -> list[bytes]:
    batch_id = "sealed"
    journal.lanes.seal(LANE, batch_id, limits=encrypted.LIMITS, tokens=10**9)
    record = journal.batches.get(batch_id)
    assert record is not None
    return [line for _, line in journal.lines.of(record)]


def found(server: Server, text: str) -> list[bytes]:
    with redis.Redis.from_url(server.url) as client:
        return [key for key, held in _texts(client) if text.encode() in held]


# What is written


def test_without_a_setting_all_is_plain(
    journal_with: Callable[..., Journal], server: Server
) -> None:
    journal = journal_with()
    task = asked(journal)
    assert len(found(server, CANARY)) == 2
    assert CANARY.encode() in lines(journal)[0]
    finish(journal, task)


def test_nothing_of_it_is_readable_in_redis(
    journal_with: Callable[..., Journal], server: Server
) -> None:
    journal = journal_with(NEW)
    task = asked(journal)
    assert CANARY.encode() in lines(journal)[1]
    finish(journal, task)
    lease, claimed = claim(journal, task.task_id)
    assert claimed.entries[0].outcome == outcome(CANARY)
    journal.runs.note_step(task.task_id, token=lease.token, name="step#1", value=f'[]\n"{CANARY}"')
    journal.runs.keep(task.task_id, message=json.dumps({"args": CANARY}).encode())
    assert found(server, CANARY) == []
    assert journal.tasks.messages([task.task_id]) == [json.dumps({"args": CANARY}).encode()]
    journal.runs.settle(task.task_id, token=lease.token, state="RETRY", final=False)
    _, again = claim(journal, task.task_id, retries=1)
    assert again.steps == {"step#1": f'[]\n"{CANARY}"'}


def test_an_encrypted_value_is_a_little_longer_than_a_plain_one() -> None:
    """Redis needs no base64."""
    sealed = Codec(VARIABLE, Fernet(NEW)).seal(b"x" * 2_000)
    assert 2_000 < len(sealed) < 2_100


# Keys change


def test_a_new_key_in_front_reads_what_the_old_one_wrote(
    journal_with: Callable[..., Journal],
) -> None:
    task = asked(journal_with(OLD))
    both = journal_with(NEW, OLD)
    assert CANARY.encode() in lines(both)[0]
    finish(both, task)
    assert [one.outcome for one in claim(journal_with(NEW), task.task_id)[1].entries] == [
        outcome(CANARY)
    ] * 2


def test_what_was_plain_stays_readable(journal_with: Callable[..., Journal]) -> None:
    task = asked(journal_with())
    later = journal_with(NEW)
    assert CANARY.encode() in lines(later)[0]
    finish(later, task)
    assert claim(later, task.task_id)[1].entries[1].outcome == outcome(CANARY)


@pytest.mark.parametrize("keys", [(), (NEW,)])
def test_without_its_key_nothing_is_read_and_nothing_lost(
    journal_with: Callable[..., Journal], keys: tuple[bytes, ...]
) -> None:
    task = asked(journal_with(OLD))
    stranger = journal_with(*keys)
    with pytest.raises(KeyMissing, match=r"the prompt .* is encrypted, and"):
        lines(stranger)
    with pytest.raises(KeyMissing, match=f"the message of task {task.task_id}"):
        stranger.tasks.messages([task.task_id])
    finish(journal_with(OLD), task)
    lease, message = stranger.runs.lease(task.task_id), b"{}"
    with pytest.raises(KeyMissing, match=f"the journal of task {task.task_id}"):
        stranger.runs.claim(task.task_id, token=lease.token, nesting=0, retries=0)
    assert stranger.runs.unclaim(task.task_id, token="another", message=message) == "LOST"
    assert stranger.runs.unclaim(task.task_id, token=lease.token, message=message) == "UNCLAIMED"
    assert claim(journal_with(OLD), task.task_id)[1].entries[0].outcome == outcome(CANARY)


def test_what_was_changed_is_not_taken(journal_with: Callable[..., Journal]) -> None:
    """Each value carries a code of its own: a byte that was changed shows."""
    journal = journal_with(NEW)
    task = asked(journal)
    key = journal.store.bodies_key(task.task_id)
    sealed = journal.store.redis.hget(key, "0")
    journal.store.redis.hset(key, "0", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(KeyMissing):
        lines(journal)


# A setting that is wrong


@pytest.mark.parametrize(
    ("given", "keys", "says"),
    [
        (f"env:{VARIABLE}", "", "no key can be read from it"),
        (f"env:{VARIABLE}", "not a key", "accepted there are Fernet keys"),
        (f"env:{VARIABLE}", f"{NEW.decode()},x", "accepted there are Fernet keys"),
        (NEW.decode(), "", "accepted is where the keys come from"),
        (5, "", "accepted is where the keys come from"),
    ],
    # Processes of one run must agree on names, and the keys are new in each.
    ids=["no key", "not a key", "one that is none", "a key for the name", "a number"],
)
def test_a_wrong_one_says_what_is_accepted_and_shows_no_key(
    monkeypatch: pytest.MonkeyPatch, given: Any, keys: str, says: str
) -> None:
    monkeypatch.setenv(VARIABLE, keys)
    app = make_app("wrong", batchq_encryption=given)
    with pytest.raises(ConfigurationError, match=says) as caught:
        codec_of(settings(app))
    assert NEW.decode() not in repr(caught.value) + str(caught.value)
    assert "not a key" not in repr(caught.value)


def test_without_the_package_it_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['cryptography.fernet'] = None\n"
        "from celery import Celery\n"
        "from batchq.settings.config import settings\n"
        "from batchq.journal.codec import codec_of\n"
        "app = Celery('x', broker='redis://127.0.0.1:1')\n"
        "app.conf.batchq_encryption = 'env:KEYS'\n"
        "codec_of(settings(app))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert "pip install 'batchq[encryption]'" in done.stderr


def test_a_worker_without_its_keys_does_not_start(stack: Stack) -> None:
    process = stack.worker(APP, wait=False)
    assert process.wait() != 0
    assert (
        "batchq_encryption = 'env:BATCHQ_TEST_KEYS': no key can be read from it" in process.output()
    )


def test_beat_and_status_need_no_keys(stack: Stack) -> None:
    stack.beat(APP).wait_for_output("Sending due task batchq.flush")
    assert batchq.status(encrypted.app).waiting == 0


# The whole journey


def test_a_worker_that_lost_a_key_waits_for_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that has only the new key can neither flush nor resume, and it fails no task."""
    monkeypatch.setenv(VARIABLE, OLD.decode())
    stack.beat(APP)
    first = stack.worker(APP)
    sent = encrypted.ask.delay(CANARY)
    journal = encrypted.journal()
    wait_until(lambda: journal.waiting.count() == 1, description="it has asked")
    first.stop()
    assert found(stack.server, CANARY) == []
    stranger = stack.worker(APP, environment={VARIABLE: NEW.decode()})
    encrypted.app.tasks["batchq.flush"].delay(everything=True)
    wait_until(
        lambda: "could not be submitted (the prompt" in stranger.output(),
        description="it says what it cannot read",
    )
    (record,) = journal.batches.open()
    assert "no key from env:BATCHQ_TEST_KEYS opens it" in record.note
    # Its answer comes all the same, by a worker that has both keys and takes no tasks.
    both = f"{NEW.decode()},{OLD.decode()}"
    stranger.stop()
    stranger = stack.worker(APP, queues=["celery"], environment={VARIABLE: NEW.decode()})
    fetcher = stack.worker(APP, queues=["batchq"], environment={VARIABLE: both})
    cannot = "goes on waiting, for this worker cannot read its answers: the journal of task"
    waits = f"task {encrypted.ask.name} [{sent.id}] {cannot} {sent.id}"
    wait_until(
        lambda: waits in stranger.output() or (journal.resuming.count() == 0 and sent.ready()),
        description="it can be resumed, and the stranger cannot read its answer",
        timeout=60,  # Either may take each step; where the stranger does, it is tried later.
    )
    stranger.stop()
    stack.worker(APP, environment={VARIABLE: both})
    encrypted.app.tasks["batchq.resume"].delay([sent.id])
    assert CANARY in sent.get(timeout=20)
    assert stack.emulator.ledger()["duplicates"] == {}
    assert "Traceback" not in stranger.output() + fetcher.output()
