"""An app whose worker dies once, between storing a result and telling the chord it belongs to."""

from __future__ import annotations

import os
import signal
from typing import Any

from celery.backends.redis import RedisBackend
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app


class Backend(RedisBackend):
    def on_chord_part_return(
        self, request: Any, state: str, result: Any, *rest: Any, **more: Any
    ) -> None:
        if self.client.set("notes:died", 1, nx=True):
            os.killpg(os.getpgrp(), signal.SIGKILL)
        super().on_chord_part_return(request, state, result, *rest, **more)


app = make_app(
    "parts",
    result_backend=f"{__name__}:Backend+{os.environ['REDIS_URL']}",
    batchq_redis_url=os.environ["REDIS_URL"],
    task_acks_late=True,
)
client = OpenAI(max_retries=0)


@app.task
@batched_llm_task
def say(text: str) -> str:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


@app.task
def collect(answers: list[str]) -> int:
    return len(answers)
