"""One task that asks once."""

from __future__ import annotations

from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app("plain_prompts", batchq_poll_first=0.05)
client = OpenAI()


@app.task
@batched_llm_task
def say(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return str(completion.choices[0].message.content)
