"""Properties, and a countdown on a quorum queue, on a real RabbitMQ.

Celery sends what has a countdown through queues that hold it up, bit by bit. The message came back
with their marks and a key of theirs (`0.0.….key`), and was sent again with both. And a step that
was due in less than a second could not be sent: Celery makes whole seconds of a countdown there.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fidelity.environments import RABBITMQ, rabbitmq
from tests.harness import Stack

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not RABBITMQ.exists(), reason="RabbitMQ is not installed"),
]

PROPERTIES: dict[str, Any] = {
    "app_id": "shop",
    "message_id": "a message",
    "priority": 3,
    "timestamp": 1_800_000_000,
    "type": "a type",
    "user_id": "guest",
}


def test_a_message_comes_again_as_it_came(stack: Stack) -> None:
    with rabbitmq(stack) as url:
        environment = {"BROKER_URL": url}
        worker = stack.worker(
            "tests.apps.quorum", queues=["celery", "batchq", "other"], environment=environment
        )
        stack.beat("tests.apps.quorum", environment=environment)
        from tests.apps import quorum

        app = quorum.make(url)
        sent = [
            app.tasks["quorum.looks"].apply_async(("a text",), {}, **PROPERTIES, **options)
            for options in (
                {},
                {"countdown": 1},
                {"countdown": 2, "headers": {"tenant": "one"}},
                {"countdown": 3, "queue": "other"},
                {"eta": datetime.now(UTC) + timedelta(seconds=4)},
            )
        ]
        seen = [result.get(timeout=60) for result in sent]
        again_and_again = app.tasks["quorum.retries"].apply_async(("twice",), countdown=1)
        _, last = again_and_again.get(timeout=60)
        app.close()
        for first, again in seen:
            assert {name: again["properties"][name] for name in PROPERTIES} == PROPERTIES
            assert again["properties"] == first["properties"]
            assert not [name for name in again["headers"] or {} if "death" in name]
        delayed = [first["delivery_info"] for first, _ in seen[1:]]
        assert all("celery_delayed" in where["exchange"] for where in delayed)
        keys = [again["delivery_info"]["routing_key"] for _, again in seen]
        assert keys == ["celery", "celery", "celery", "other", "celery"]
        # The last of three ways through the delays, and nothing of those before.
        assert last["delivery_info"]["routing_key"].count(".") == 28
        assert [(again["headers"] or {}).get("tenant") for _, again in seen].count("one") == 1
        assert "Traceback" not in worker.output()
        worker.stop()
