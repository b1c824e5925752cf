"""A task that holds its message longer than the broker's patience, which is short here."""

from __future__ import annotations

import os

import redis
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app
from tests.harness import wait_until

app = make_app(
    "held",
    task_acks_late=True,
    broker_transport_options={
        "visibility_timeout": int(os.environ.get("VISIBILITY_TIMEOUT", "60")),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        # Else a worker that is killed while it looks leaves nobody to look for five minutes.
        "unacked_mutex_expire": 2,
    },
)
client = OpenAI()


@app.task
@batched_llm_task
def hold(text: str) -> str | None:
    """Ask; then, with the answer, wait as long as the key ``hold`` is there."""
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
        keys.incr("held")
        wait_until(lambda: not keys.exists("hold"), description="it may go on", timeout=90)
    return completion.choices[0].message.content
