"""An ordinary Celery app: the decorator on its tasks, and one call on the app."""

from __future__ import annotations

import os

import redis
from celery import Celery
from openai import BadRequestError, OpenAI
from pydantic import BaseModel

import batchq
from batchq import batched_llm_task

REDIS = os.environ["REDIS_URL"]
app = Celery("shop", broker=REDIS, backend=REDIS, set_as_current=False)
# A user keeps the defaults and saves money; a test is in a hurry.
app.conf.update(batchq_flush_after=0, batchq_tick=0.3, batchq_poll_first=0.2)
batchq.install(app)

client = OpenAI()


class Label(BaseModel):
    topic: str
    urgent: bool


def ask(text: str, *, temperature: float = 1) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna",
        messages=[{"role": "user", "content": text}],
        temperature=temperature,
    )
    return completion.choices[0].message.content or ""


def count(what: str) -> int:
    """Count how often a line was reached, over all processes."""
    with redis.Redis.from_url(REDIS, decode_responses=True) as counters:
        return int(str(counters.incr(what)))


@app.task
@batched_llm_task
def classify(text: str) -> dict[str, object]:
    completion = client.chat.completions.parse(
        model="gpt-5.6-luna",
        messages=[{"role": "user", "content": text}],
        response_format=Label,
    )
    label = completion.choices[0].message.parsed
    assert label is not None
    return label.model_dump()


@app.task
@batched_llm_task
def describe(text: str) -> str:
    return ask(f"Describe: {text}")


@app.task
def join(texts: list[str]) -> str:
    return "\n".join(texts)


@app.task
@batched_llm_task
def draft_and_improve(text: str) -> str:
    count("draft_and_improve ran")
    draft = ask(f"Draft: {text}")
    return ask(f"Improve: {draft}")


@app.task
@batched_llm_task
def compare(left: str, right: str) -> list[str]:
    count("compare ran")
    return batchq.gather(lambda: ask(left), lambda: ask(right))


@app.task
@batched_llm_task
def number_and_describe(text: str) -> str:
    number = batchq.once(count, "numbers given")
    return f"{number}. {ask(text)}"


@app.task
@batched_llm_task
def check_live(text: str) -> list[str]:
    with batchq.live():
        now = ask(f"Is this spam? {text}")
    return [now, ask(f"Answer: {text}")]


@app.task
@batched_llm_task
def too_hot(text: str) -> str:
    try:
        return ask(text, temperature=9)
    except BadRequestError as error:
        return f"refused: {error.param}"


@app.task(autoretry_for=(OSError, ValueError), retry_kwargs={"countdown": 0})
@batched_llm_task
def save(text: str, error: str) -> str:
    answer = ask(text)
    if count(f"saving {text}") == 1:
        raise {"OSError": OSError, "ValueError": ValueError}[error]("not saved")
    return answer
