"""Ordinary Celery tasks that ask OpenAI. `@batched_llm_task` is all that batchq adds to them."""

from typing import Literal

from celery import Celery
from openai import OpenAI
from pydantic import BaseModel

import batchq
from batchq import batched_llm_task

app = Celery("demo")
app.config_from_object("celeryconfig")
# The emulator stands in OpenAI's place, and charges what OpenAI does.
app.conf.batchq_accounts = {"default": {"prices": "openai"}}
batchq.install(app)

client = OpenAI()

MODEL = "gpt-5.6-luna"


class Label(BaseModel):
    kind: Literal["syntax", "type", "function", "import", "error", "other"]
    reason: str


@app.task
@batched_llm_task
def classify(paragraph: str) -> str:
    """What a paragraph is about: one word."""
    completion = client.chat.completions.parse(
        model=MODEL,
        messages=[
            {"role": "system", "content": "What is this paragraph of the manual about?"},
            {"role": "user", "content": paragraph},
        ],
        response_format=Label,
    )
    label = completion.choices[0].message.parsed
    return label.kind if label is not None else "refused"


@app.task
@batched_llm_task
def summarise(section: str) -> str:
    """Two questions, one after the other: the second goes out in a later batch."""
    points = ask("List the points that matter.", section)
    return ask("Write one sentence from these points.", points)


def ask(instruction: str, text: str) -> str:
    completion = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": instruction},
            {"role": "user", "content": text},
        ],
    )
    return completion.choices[0].message.content or ""


@app.task
@batched_llm_task
def embed(paragraphs: list[str]) -> list[list[float]]:
    """The paragraphs of a section as points in space, all in one call."""
    response = client.embeddings.create(
        model="text-embedding-3-small", input=paragraphs, dimensions=32
    )
    return [item.embedding for item in response.data]


@app.task
def collect(answers: list[object]) -> list[object]:
    """The end of the chord: runs once, when every other task has its result."""
    return answers
