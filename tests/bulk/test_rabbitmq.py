"""A broker that is no Redis: a real RabbitMQ gets each message by itself, on one channel."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import batchq
from batchq.common.seams.queues import messages_in
from tests.apps.base import make_app
from tests.fidelity.environments import RABBITMQ, rabbitmq
from tests.harness import Stack, wait_until

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not RABBITMQ.exists(), reason="RabbitMQ is not installed"),
]


def test_what_is_sent_waits_for_room_and_is_known_again(stack: Stack) -> None:
    with rabbitmq(stack) as url:
        app: Any = make_app("rabbit", broker_url=url)

        def body(number: int) -> None: ...

        task: Any = app.task(name="rabbit", shared=False)(batchq.batched_llm_task(body))
        first = task.enqueue(range(10), key=int, priority=3, expires=600, in_broker=10)
        again = task.enqueue(range(10), key=int)
        assert (first.sent, again.sent, again.unseen) == (10, 0, 10)
        assert messages_in(app, ["celery", "none"]) == 10
        drawn = list[int]()

        def rows() -> Any:
            for number in range(10, 40):
                drawn.append(number)
                yield number

        sending = threading.Thread(target=lambda: task.enqueue(rows(), key=int, in_broker=15))
        sending.start()
        wait_until(lambda: len(drawn) >= 6, description="some are sent")
        with app.connection_for_read() as connection:
            queue = connection.SimpleQueue("celery")
            taken = list[str]()
            while len(taken) < 40:
                assert messages_in(app, ["celery"]) <= 25
                message = queue.get(timeout=10)
                message.ack()
                taken.append(message.headers["id"])
                if len(taken) <= 10:
                    assert message.properties["priority"] == 3
                    assert 0 < int(message.properties["expiration"]) <= 600_000
            queue.close()
        sending.join(30)
        assert not sending.is_alive()
        assert taken[:10] == list(first.task_ids)
        assert len(set(taken)) == 40
        app.close()
