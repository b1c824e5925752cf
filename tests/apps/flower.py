"""The app that Flower shows in tests: its settings leave everything where a test has put it."""

from __future__ import annotations

from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app(
    "flower",
    batchq_accounts={"default": {"prices": "openai"}},
    worker_send_task_events=True,
)
client = OpenAI(max_retries=0)


@app.task(name="say")
@batched_llm_task
def say(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""
