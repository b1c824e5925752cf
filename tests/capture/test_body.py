"""What a batched body sees and does not see of its capture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from openai import OpenAI

from tests.capture.bench import MODEL, Bench, ask, user

client = OpenAI()


def test_the_captured_call_is_not_seen_by_except_exception(bench: Bench) -> None:
    """Bodies that catch everything around a call are common; the capture must pass through them."""
    seen: list[str] = []

    @bench.task
    def careful(text: str) -> str:
        try:
            return ask(client, text)
        except Exception as error:  # noqa: BLE001 this is what the test is about
            seen.append(repr(error))
            return "fallback"

    answer = bench.run(careful, "hello")
    assert answer != "fallback"
    assert seen == []
