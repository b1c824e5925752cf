"""An app with the limits of the most copied templates, only shorter."""

from __future__ import annotations

from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app(
    "limited",
    task_soft_time_limit=4,
    task_time_limit=6,
    task_default_rate_limit="1000/s",
    task_annotations={"*": {"acks_late": False, "rate_limit": "100/s", "time_limit": 6}},
)
client = OpenAI()


@app.task
@batched_llm_task
def ask(text: str) -> str | None:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content
