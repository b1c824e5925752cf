"""An app with a schedule of its own, and settings from the environment of its processes."""

from __future__ import annotations

import json
import os

import redis
from openai import OpenAI

import batchq
from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app(
    "installed",
    beat_schedule={"mine": {"task": "tests.apps.installed.note_tick", "schedule": 0.3}},
    # RedBeat's own: it looks for due entries this often.
    beat_max_loop_interval=1,
    redbeat_redis_url=os.environ["REDIS_URL"],
    redbeat_lock_timeout=5,
    **json.loads(os.environ.get("INSTALLED_SETTINGS", "{}")),
)
# Somebody else's module does it too.
batchq.install(app)
client = OpenAI(max_retries=0)


@app.task
@batched_llm_task
def say(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


@app.task(ignore_result=True)
def note_tick() -> None:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as notes:
        notes.incr("notes:ticks")
