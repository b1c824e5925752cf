"""Testing one's own tasks: no key, no bill, no waiting.

REDIS_URL=redis://127.0.0.1:6379/15 pytest examples/test_my_tasks.py
"""

import os
import time
from collections.abc import Iterator

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from openai import OpenAI

import batchq
from batchq import batched_llm_task
from batchq.emulator import Emulator, running


@batched_llm_task
def shout(text: str) -> str:
    completion = OpenAI().chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return (completion.choices[0].message.content or "").upper()


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with running() as emulator:
        monkeypatch.setenv("OPENAI_BASE_URL", emulator.url)
        monkeypatch.setenv("OPENAI_API_KEY", emulator.api_key)
        yield emulator


def test_the_body(emulator: Emulator) -> None:
    """Called as a function, a batched task calls the live API: here, the emulator's."""
    assert shout("hello").isupper()
    assert emulator.ledger()["totals"]["live"]["ok"] == 1


@pytest.mark.filterwarnings("default:Call to deprecated")  # Celery 5.6 with redis-py 8
def test_the_whole_journey(emulator: Emulator) -> None:
    """With a worker in this process. Calling flush takes the place of beat."""
    app = Celery("my_tasks", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
    app.conf.update(batchq_flush_after=0, batchq_tick=1, batchq_poll_first=0.1)
    task = batchq.install(app).task(shout)
    with start_worker(app, perform_ping_check=False, queues=["celery", "batchq"]):
        result = task.delay("hello")
        while not batchq.status(app).waiting:
            time.sleep(0.05)
        app.tasks["batchq.flush"].delay(everything=True)
        assert result.get(timeout=30).isupper()
    assert emulator.ledger()["batches_created"] == 1
