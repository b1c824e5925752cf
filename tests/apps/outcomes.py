"""Tasks that tell what became of their prompts: the answer, or the SDK's own error."""

from __future__ import annotations

import logging
from typing import Any

import openai
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

logger = logging.getLogger(__name__)

app = make_app(
    "outcomes",
    # A test says when: so what it asks shares a batch.
    batchq_flush_after=None,
    batchq_tick=0.2,
    batchq_poll_first=0.1,
    batchq_poll_longest=0.3,
    batchq_lease=2,
    batchq_batch_lease=3,
    batchq_batch_deadline=4,
    batchq_files_grace=1,
    batchq_create_grace=1.5,
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
