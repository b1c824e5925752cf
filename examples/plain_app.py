"""One app in one file: the line that is added, and what it does not change."""

from celery import Celery
from openai import OpenAI
from pydantic import BaseModel

import batchq
from batchq import batched_llm_task

app = Celery("examples.plain_app")
app.config_from_object("celeryconfig")
batchq.install(app)

client = OpenAI()


class Label(BaseModel):
    topic: str
    urgent: bool


@app.task
@batched_llm_task
def classify(text: str) -> dict[str, object]:
    completion = client.chat.completions.parse(
        model="gpt-5.6-luna",
        messages=[
            {"role": "system", "content": "What is this message about, and is it urgent?"},
            {"role": "user", "content": text},
        ],
        response_format=Label,
    )
    label = completion.choices[0].message.parsed
    assert label is not None
    return label.model_dump()


if __name__ == "__main__":
    texts = ["My invoice is wrong.", "The site is down, immediately call me!"]
    results = [classify.delay(text) for text in texts]
    for text, result in zip(texts, results, strict=True):
        print(text, "->", result.get(timeout=600))
