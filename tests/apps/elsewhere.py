"""An app whose settings come whole from the environment: where its servers are, above all."""

from __future__ import annotations

import json
import os
from typing import Any

from celery import Celery
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app


def ask(text: str) -> str:
    completion = OpenAI().chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


def made(settings: dict[str, Any]) -> Celery[Any]:
    app = make_app("elsewhere", **settings)
    app.task(name="ask", shared=False)(batched_llm_task(ask))
    return app


app = made(json.loads(os.environ.get("ELSEWHERE", "{}")))
