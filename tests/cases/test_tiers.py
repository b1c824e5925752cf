"""`service_tier` is left out of a batch line: a batch has a tier, and a price, of its own.

It was left out in silence, and who had set "priority" wondered why it took hours.
"""

from __future__ import annotations

import json

import pytest
from openai import OpenAI

from tests.capture.bench import MODEL, Bench, user

client = OpenAI()


@pytest.mark.parametrize(
    ("tier", "told"),
    [("flex", 1), ("priority", 1), ("auto", 0), ("default", 0), (None, 0)],
)
def test_a_tier_is_left_out_and_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture, tier: str | None, told: int
) -> None:
    @bench.task
    def body() -> str:
        options = {} if tier is None else {"service_tier": tier}
        answers = [
            client.chat.completions.create(model=MODEL, messages=user(text), extra_body=options)
            for text in ("one", "two")
        ]
        return str(len(answers))

    assert bench.run(body) == "2"
    said = [text for text in caplog.messages if "service_tier" in text]
    assert len(said) == told
    assert all(f"asks for service_tier={tier!r}, which is left out" in text for text in said)


def test_it_is_not_on_the_line(bench: Bench) -> None:
    @bench.task
    def body() -> None:
        client.chat.completions.create(model=MODEL, messages=user("one"), service_tier="flex")

    bench.send(body)
    bench.deliver()
    (lane,) = bench.journal.lanes.all()
    (custom_id,) = bench.journal.store.redis.zrange(
        bench.journal.store.lane_keys(lane.lane)[0], 0, -1
    )
    question = bench.journal.views.question(custom_id.decode())
    assert "service_tier" not in json.loads(question or b"")
