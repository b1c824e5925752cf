"""Tasks whose prompts and answers a test looks for where they must not be."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from openai import OpenAI

import batchq
from batchq import batched_llm_task
from tests.apps.base import make_app

#: Each stands for something that is in no log, no event, no key that is not made to hold it.
PROMPT, KEY = "canary-prompt-5b1e", "sk-canary-key-9d27"

app = make_app(
    "canary",
    worker_send_task_events=True,
    task_send_sent_event=True,
    batchq_flush_after=None,
    # A test says between two tries of a submission what the next one is to meet.
    batchq_poll_first=3,
    batchq_poll_longest=3,
)
client = OpenAI(max_retries=0)

if "CANARY_LOUD" in os.environ:
    # Every logger of the process: openai's, httpx's and httpcore's too.
    logging.basicConfig(level=logging.DEBUG)


def answer_to(number: int) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": f"{PROMPT} {number}"}]
    )
    return completion.choices[0].message.content or ""


@app.task
@batched_llm_task
def ask(number: int) -> int:
    """The prompt is the body's own, and its result is a number: Celery sees neither."""
    first = batchq.once(answer_to, number)
    second = answer_to(number + 1)
    with Path(os.environ["CANARY_ANSWERS"]).open("a") as answers:
        answers.write(f"{first}\n{second}\n")
    return len(first)


@app.task
@batched_llm_task
def fail(number: int) -> int:
    """An error of the API that the body does not catch: Celery stores it."""
    return len(answer_to(number))
