"""An app on RabbitMQ, with quorum queues and Celery's own way to delay what has a countdown."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from openai import OpenAI

from batchq import batched_llm_task, once
from tests.apps.base import make_app

client = OpenAI()


def make(broker_url: str) -> Celery[Any]:
    orders = Exchange("orders", type="topic")
    app = make_app(
        "quorum",
        broker_url=broker_url,
        broker_transport_options={"confirm_publish": True},
        task_default_queue_type="quorum",
        task_default_exchange="orders",
        task_default_exchange_type="topic",
        worker_detect_quorum_queues=True,
        task_queues=[
            Queue(name, orders, routing_key=name, queue_arguments={"x-queue-type": "quorum"})
            for name in ("celery", "batchq", "other")
        ],
    )
    app.task(name="quorum.looks", bind=True, shared=False)(batched_llm_task(looks))
    app.task(name="quorum.retries", bind=True, shared=False)(batched_llm_task(retries))
    return app


def retries(self: Any, text: str) -> list[dict[str, Any]]:
    """Waits for its answer, then twice more for its time."""
    seen = looks(self, text)
    if self.request.retries < 2:
        raise self.retry(countdown=1)
    return seen


def looks(self: Any, text: str) -> list[dict[str, Any]]:
    """What the first run and the last see of their messages."""
    first = once(see, self)
    completion = client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": text}]
    )
    assert completion.choices[0].message.content
    return [first, see(self)]


def see(task: Any) -> dict[str, Any]:
    request = task.request
    properties = {**request.properties}
    for own in ("application_headers", "batchq_content_type"):
        properties.pop(own, None)
    headers = dict(request.headers or {})
    return {"properties": properties, "headers": headers, "delivery_info": request.delivery_info}


if "BROKER_URL" in os.environ:
    app = make(os.environ["BROKER_URL"])
