"""Tasks that are enqueued by the thousand, and a program that enqueues them."""

from __future__ import annotations

import itertools
import os
import sys

import redis
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app("bulk")
client = OpenAI(max_retries=0)


# By its name ids are made, and a module that is run as a program would have another.
@app.task(name="bulk.say")
@batched_llm_task
def say(number: int, tone: str = "plain") -> int:
    """The number that it was asked about; odd ones of a sour tone fail."""
    client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": f"{tone} {number}"}]
    )
    if tone == "sour" and number % 2:
        raise LookupError(f"nothing about {number}")
    return number


@app.task
def count(number: int) -> None:
    """What it is called with, counted in Redis: how often each number has run."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.hincrby("test:ran", str(number), 1)


if __name__ == "__main__":
    # Rows without an end: whoever starts it ends it.
    rows = itertools.count() if sys.argv[1] == "endless" else range(int(sys.argv[1]))
    found = say.enqueue(rows, key=int)
    sys.stdout.write(f"{found.sent} {found.known} {found.unseen}\n")
