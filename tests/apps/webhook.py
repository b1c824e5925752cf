"""Tasks of an app that hardly polls: what is quick here was brought by a webhook."""

from __future__ import annotations

from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app("webhook", batchq_poll_first=600, batchq_poll_longest=600)
client = OpenAI(max_retries=0)


@app.task
@batched_llm_task
def say(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""
