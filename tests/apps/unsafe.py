"""An app with the settings that a test names, on a Redis of the test's own."""

from __future__ import annotations

import json
import os
from typing import Any

from openai import OpenAI
from redis.exceptions import OutOfMemoryError

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app("unsafe", **json.loads(os.environ.get("UNSAFE_SETTINGS", "{}")))
client = OpenAI()


def _say(text: str) -> str | None:
    messages: Any = [{"role": "user", "content": text}]
    completion = client.chat.completions.create(model="gpt-5.6-luna", messages=messages)
    return completion.choices[0].message.content


@app.task
@batched_llm_task
def say(text: str) -> str | None:
    return _say(text)


@app.task(autoretry_for=(OutOfMemoryError,), default_retry_delay=1, max_retries=None)
@batched_llm_task
def stubborn(text: str) -> str | None:
    return _say(text)
