"""The app whose processes are cut off: tasks of each kind, and books of how often each has ended.

What a task returns is a digest of its answer: answers repeat words of their prompts, Celery logs
results, and no log may hold a prompt.
"""

from __future__ import annotations

import hashlib
import os
import signal
import uuid
from typing import Any

import redis
from celery import chord, signals
from openai import OpenAI

import batchq
from batchq import batched_llm_task
from batchq.common.points import point
from tests.apps.base import make_app
from tests.harness import wait_until

app = make_app(
    "faults",
    # As the documents advise, for a Redis that is away for a moment.
    result_backend_always_retry=True,
    # A worker that is killed gives its message back, and soon.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={
        "visibility_timeout": 3,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    batchq_tick=0.5,
    batchq_poll_first=0.15,
    batchq_poll_longest=0.3,
    batchq_lease=2,
    batchq_files_grace=1,
    batchq_create_grace=1.5,
    batchq_max_attempts=30,
)
client = OpenAI(max_retries=0)

#: Two models, two lanes.
MODELS = ("gpt-5.6-luna", "gpt-5.4-mini")
#: In each prompt. It is to be in no log.
CANARY = "canary-3f1c"
#: In the prompt whose rows fail at first.
AGAIN = "once-more"


def ask(text: str, model: str) -> str:
    """The digest of a model's answer."""
    completion = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": f"{CANARY} {text}"}]
    )
    return hashlib.sha256((completion.choices[0].message.content or "").encode()).hexdigest()[:16]


def ask_twice(text: str) -> str:
    return ask(f"{text} after {ask(text, MODELS[0])}", MODELS[1])


@app.task
@batched_llm_task
def say(text: str, model: str) -> str:
    return ask(text, model)


@app.task
@batched_llm_task
def two(text: str) -> str:
    """Two calls, the second of which needs the answer of the first."""
    return ask_twice(text)


@app.task
@batched_llm_task
def slow(text: str) -> str:
    """Before it asks, wait as long as the key ``test:hold`` is there."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
        keys.incr("test:held")
        wait_until(lambda: _may_go_on(keys), description="it may go on")
    return ask(text, MODELS[0])


def _may_go_on(keys: Any) -> bool:
    try:
        return not keys.exists("test:hold")
    except redis.ConnectionError:
        return False


@app.task
@batched_llm_task
def poison(text: str) -> str:
    """It kills whoever runs it."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    return ask(text, MODELS[0])


@app.task
def join(parts: list[str]) -> str:
    return " ".join(parts)


@app.task(bind=True)
def tally(self: Any, _: object, name: str) -> None:
    """Linked to a task, it notes who called it: a second delivery of it is the same one."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
        keys.sadd(f"test:tally:{name}", self.request.id)


@signals.task_success.connect
def _note_success(sender: Any = None, **_: Any) -> None:
    if sender.name.startswith(__name__) and sender.name != tally.name:
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as keys:
            keys.sadd(f"test:success:{sender.request.id}", uuid.uuid4().hex)


@signals.before_task_publish.connect
def _publish(**_: Any) -> None:
    point("publish.call")


@signals.after_task_publish.connect
def _published(**_: Any) -> None:
    point("publish.called")


NAMES = ("single", "double", "chord")


def send(ids: dict[str, str]) -> None:
    """Send all that has an id here: sent again under the same ones, it is the same journey."""
    if "slow" in ids:
        slow.apply_async(("slow",), task_id=ids["slow"])
    if "poison" in ids:
        poison.apply_async(("poison",), task_id=ids["poison"])
    if "single" not in ids:
        return
    single = say.s("single", MODELS[1]).set(task_id=ids["single"])
    double = two.s("double").set(task_id=ids["double"])
    header = [
        say.s("member", MODELS[0]).set(task_id=ids["member"]),
        say.s(AGAIN, MODELS[0]).set(task_id=ids["again"]),
    ]
    for name, signature in (("single", single), ("double", double)):
        batchq.enqueue([signature], link=tally.s(name))
    chord(header)(join.s().set(task_id=ids["chord"], link=[tally.s("chord")]))


def expected() -> dict[str, str]:
    """What the journey is to bring: answers depend on their request alone, so it is asked live."""
    members = [ask("member", MODELS[0]), ask(AGAIN, MODELS[0])]
    return {
        "single": ask("single", MODELS[1]),
        "double": ask_twice("double"),
        "chord": " ".join(members),
        "slow": ask("slow", MODELS[0]),
    }
