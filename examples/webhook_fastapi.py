"""Webhooks in FastAPI: `uvicorn examples.webhook_fastapi:app`. In Starlette the function is the
same, and its line is `Route("/openai/webhook", openai_webhook, methods=["POST"])`.
"""

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from batchq.webhook import LARGEST, handle
from examples.plain_app import app as celery_app

app = FastAPI()


@app.post("/openai/webhook")
async def openai_webhook(request: Request) -> PlainTextResponse:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            break
    # In a thread, for it asks Redis.
    answer = await run_in_threadpool(handle, body, request.headers, app=celery_app)
    return PlainTextResponse(answer.word, answer.status)
