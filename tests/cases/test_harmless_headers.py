"""Headers that only say who calls, or which call it is, made whole libraries unusable.

No batch line carries headers. One that changes no answer is left out; any other is refused, by its
name, and `batchq_ignore_headers` adds to those that are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from openai import OpenAI

from batchq import NotBatchable
from tests.capture.bench import MODEL, Bench, user

client = OpenAI()

HARMLESS = {
    "semantic-kernel-version": "python/1.39.0",
    "X-Client-Request-Id": "7f",
    "x-ms-useragent": "azsdk-python/1.0",
    "x-ms-client-request-id": "7f",
    "x-ms-return-client-request-id": "true",
    "HTTP-Referer": "https://shop.example.com",
    "Referer": "https://shop.example.com",
    "X-Title": "Shop",
    "X-OpenRouter-Title": "Shop",
    "X-Request-ID": "7f",
    "Request-Id": "|7f.1.",
    "X-Correlation-ID": "7f",
    "X-Session-Id": "7f",
    "x-goog-api-client": "gl-python/3.11",
    "X-Client-Name": "shop",
    "X-SDK-Version": "3",
    "another-library-version": "0.4.1rc1",
    # Of tracing tools.
    "tracestate": "a=b",
    "baggage": "a=b",
    "b3": "1-2",
    "X-B3-Sampled": "1",
    "x-datadog-sampling-priority": "1",
    "sentry-trace": "1-2",
    "newrelic": "e30=",
    "uber-trace-id": "1:2:0:1",
    "uberctx-tenant": "7",
    "ot-tracer-sampled": "true",
    "X-INSTANA-T": "1",
    "X-Amzn-Trace-Id": "Root=1",
    "X-Cloud-Trace-Context": "1/2",
    "elastic-apm-traceparent": "00-1",
    "sw8": "1-2",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}


def asking(bench: Bench, headers: dict[str, str]) -> Any:
    @bench.task
    def body() -> str:
        completion = client.chat.completions.create(
            model=MODEL, messages=user("hello"), extra_headers=headers
        )
        return completion.choices[0].message.content or ""

    return body


def test_headers_that_change_no_answer_are_left_out(bench: Bench) -> None:
    assert bench.run(asking(bench, HARMLESS))
    assert bench.emulator.ledger()["lines_known"] == 1


def test_every_replay_says_that_it_is_one(bench: Bench) -> None:
    """Who watches calls counts tokens and money by them, and a replay costs neither."""

    @bench.task
    def body() -> str | None:
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=user("a"))
        return raw.headers.get("x-batchq-replay")

    assert bench.run(body) == "true"


CHANGING = {
    "OpenAI-Beta": "assistants=v2",
    "X-Team": "blue",
    "X-User-Id": "7",
    "x-api-version": "1.2.3",
    "x-model-version": "1.2.3",
    "anthropic-version": "2023-06-01",
    "x-version": "2",
}


@pytest.mark.parametrize("name", CHANGING)
def test_a_header_that_may_change_the_answer_is_refused(bench: Bench, name: str) -> None:
    with pytest.raises(NotBatchable, match=name.lower()) as refused:
        bench.run(asking(bench, {name: CHANGING[name]}))
    assert "batchq_ignore_headers" in str(refused.value)


def test_a_setting_adds_to_those_that_are_left_out(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(batchq_ignore_headers=["X-Team", "helicone-*"])
    assert bench.run(asking(bench, {"x-team": "blue", "Helicone-Property-Shop": "1"}))


def test_a_setting_adds_no_more_than_it_names(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(batchq_ignore_headers=["X-Team", "helicone-*"])
    with pytest.raises(NotBatchable, match="adds x-teams, xhelicone "):
        bench.run(asking(bench, {"x-teams": "blue", "xhelicone": "1"}))
