"""Tasks whose bodies are coroutines, for a worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.exceptions import SoftTimeLimitExceeded
from openai import AsyncOpenAI

import batchq
from batchq import batched_llm_task
from tests.apps.base import make_app

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task

app = make_app("awaiting")
client = AsyncOpenAI(max_retries=0)


async def ask(text: str) -> str:
    completion = await client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


@app.task(acks_late=True)
@batched_llm_task
async def late(text: str) -> list[str]:
    with batchq.live():
        now = await ask("now")
    return [now, *await asyncio.gather(ask(text), ask(f"{text}, more"))]


@app.task(bind=True, autoretry_for=(KeyError,), default_retry_delay=0, retry_backoff=False)
@batched_llm_task
async def retried(self: AnyTask, text: str) -> str:
    answer = await ask(text)
    if not self.request.retries:
        raise KeyError(text)
    return answer


@batched_llm_task
@app.task(soft_time_limit=1)
async def limited(text: str) -> str:
    answer = await ask(text)
    try:
        await asyncio.sleep(3600)
    except SoftTimeLimitExceeded:
        return f"{answer}, in time"
    return ""


@batched_llm_task(app=app)
async def waiting(text: str) -> str:
    return await ask(text)


@batched_llm_task(app=app)
async def cancelled(text: str) -> None:
    await ask(text)
    raise asyncio.CancelledError
