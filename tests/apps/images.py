"""An app whose tasks ask about images of megabytes, as data in the request."""

from __future__ import annotations

import base64
import json
import os
import random
from typing import Any

from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app(
    "images",
    # As at its users', it is flushed by its bytes, or when somebody says so.
    **{"batchq_flush_after": 3600} | json.loads(os.environ.get("IMAGES_SETTINGS", "{}")),
)
client = OpenAI(max_retries=0)


def image(number: int, size: int) -> str:
    """What nothing is gained by compressing, and so many bytes of base64."""
    noise = random.Random(number).randbytes(size * 3 // 4)
    return f"data:image/png;base64,{base64.b64encode(noise).decode()}"


@app.task
@batched_llm_task
def describe(number: int, size: int) -> str | None:
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": f"What is on image {number}?"},
        {"type": "image_url", "image_url": {"url": image(number, size)}},
    ]
    messages: Any = [{"role": "user", "content": parts}]
    completion = client.chat.completions.create(model="gpt-5.6-luna", messages=messages)
    return completion.choices[0].message.content
