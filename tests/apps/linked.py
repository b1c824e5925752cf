"""An app that is told where Redis is: by a URL of any kind, for the journal too."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from openai import OpenAI

from batchq import batched_llm_task
from tests.apps.base import make_app

#: In a worker by its environment, in the test itself by hand.
JOURNAL: str | None = os.environ.get("JOURNAL_URL")


def ask(text: str) -> str:
    completion = OpenAI().chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


def made(url: str) -> Celery[Any]:
    app = make_app("linked", broker_url=url, result_backend=url, batchq_redis_url=JOURNAL)
    app.task(name="ask", shared=False)(batched_llm_task(ask))
    return app


app = made(os.environ["REDIS_URL"])
