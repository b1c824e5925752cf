"""The tasks that most tests of the journey use."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app("journey")
client = OpenAI(max_retries=0)

MODEL = "gpt-5.6-luna"


class Label(BaseModel):
    name: str
    urgent: bool


def ask(text: str) -> str:
    completion = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


@app.task
@batched_llm_task
def say(text: str) -> str:
    return ask(text)


def label(text: str) -> dict[str, object]:
    completion = client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": text}], response_format=Label
    )
    parsed = completion.choices[0].message.parsed
    assert parsed is not None
    return parsed.model_dump()


# One body, as a plain Celery task and with the decorator added.
classify_live = app.task(name="classify_live")(label)
classify = app.task(name="classify")(batched_llm_task(label))


def improve(text: str) -> str:
    return ask(f"Improve: {ask(text)}")


refine_live = app.task(name="refine_live")(improve)
refine = app.task(name="refine")(batched_llm_task(improve))
