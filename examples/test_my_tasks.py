"""Testing one's own tasks: no key, no bill, no waiting.

REDIS_URL=redis://127.0.0.1:6379/15 pytest examples/test_my_tasks.py
"""

import os
import time

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from openai import OpenAI

import batchq
from batchq import batched_llm_task
from batchq.emulator import Emulator
from batchq.testing import answers, assert_repeatable, error


@batched_llm_task
def shout(text: str) -> str:
    return OpenAI().responses.create(model="gpt-5.6-luna", input=text).output_text.upper()


def test_what_it_makes_of_an_answer() -> None:
    """The test speaks for the model; the body runs as often as in production."""
    with answers({"weather": "it rains"}) as asked:
        assert shout.delay("how is the weather").get() == "IT RAINS"
    asked.assert_asked(model="gpt-5.6-luna", contains="weather", times=1)
    asked.assert_nothing_live()


def test_a_refusal_fails_it() -> None:
    with answers(error(400, code="context_length_exceeded")):
        assert shout.delay("a very long text").failed()


def test_the_body_asks_the_same_when_it_runs_again() -> None:
    with answers("it rains"):
        assert_repeatable(shout, "how is the weather")


@pytest.mark.filterwarnings("default:Call to deprecated")  # Celery 5.6 with redis-py 8
def test_the_whole_journey(batchq_emulator: Emulator) -> None:
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
    assert batchq_emulator.ledger()["batches_created"] == 1
