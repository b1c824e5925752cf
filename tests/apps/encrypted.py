"""An app that encrypts what it keeps, with the keys in BATCHQ_TEST_KEYS."""

from __future__ import annotations

from openai import OpenAI

from batchq import Limits, batched_llm_task
from batchq.journal import Journal, journal_of
from tests.apps.base import make_app

LIMITS = Limits()

app = make_app(
    "encrypted",
    batchq_encryption="env:BATCHQ_TEST_KEYS",
    batchq_flush_after=None,
)
client = OpenAI()


def journal() -> Journal:
    """Made at the first use, for the keys are there only in a test."""
    return journal_of(app)


@app.task
@batched_llm_task
def ask(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return f"{text}: {completion.choices[0].message.content}"
