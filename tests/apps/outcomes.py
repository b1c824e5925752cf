"""Tasks that tell what became of their prompts: the answer, or the SDK's own error."""

from __future__ import annotations

import logging
import os
from typing import Any

import openai
import redis
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app
from tests.harness import wait_until

logger = logging.getLogger(__name__)

app = make_app(
    "outcomes",
    # A test says when: so what it asks shares a batch.
    batchq_flush_after=None,
    batchq_tick=0.6,
    batchq_poll_first=0.1,
    batchq_poll_longest=0.3,
)
# With the SDK's usual retries: an outcome that is an error must not set them off.
client = OpenAI()

MODEL = "gpt-5.6-luna"


@app.task
@batched_llm_task
def say(text: str) -> dict[str, Any]:
    try:
        completion = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}]
        )
    except openai.APIStatusError as error:
        logger.warning("raised for %s", text)
        kind = type(error).__name__
        return {"error": kind, "status": error.status_code, "code": error.code}
    return {"answer": completion.choices[0].message.content}


@app.task
def tally(_: object) -> None:
    """Linked to a task, it counts how often that one ended."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
        keys.incr("tally")


@app.task
@batched_llm_task
def late(text: str) -> str | None:
    """Before it asks, wait as long as the key ``hold`` is there."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
        keys.incr("held")
        wait_until(lambda: not keys.exists("hold"), description="it may go on")
    completion = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content


@app.task
@batched_llm_task
def hold(text: str) -> str | None:
    """Ask; then, with the answer, wait as long as the key ``hold`` is there."""
    completion = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}]
    )
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
        keys.incr("held")
        wait_until(lambda: not keys.exists("hold"), description="it may go on")
    return completion.choices[0].message.content
