"""Some calls are refused for sure, and that was found out a day later, when their batch had run.

One table knows them, with where each was seen. It is read at the call and by `validate`, and each
entry can be turned off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
from openai import OpenAI

import batchq
from batchq import ConfigurationError, KnownRefusal
from batchq.commands.batchfile import BatchFile
from batchq.settings.expiring import expires_at
from batchq.settings.record import Settings
from batchq.settings.refusals import REFUSALS, known_refusal
from tests.capture.bench import Bench, user

client = OpenAI()
MakeBench = Callable[..., Bench]

NOW = datetime.now(UTC)
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
CUSTOM_TOOLS = [{"type": "custom", "custom": {"name": "look"}}]


def chat(model: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/chat/completions", {"model": model, "messages": user("hello"), **more}


def responses(**more: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/responses", {"model": "gpt-5.6-luna", "input": "hello", **more}


def seeing(url: str) -> tuple[str, dict[str, Any]]:
    picture = {"type": "image_url", "image_url": {"url": url}}
    return chat("gpt-4.1-mini", messages=[{"role": "user", "content": [picture]}])


def signed(life: timedelta, *, vendor: str = "Amz") -> str:
    date = f"{NOW:%Y%m%dT%H%M%SZ}"
    seconds = int(life.total_seconds())
    given = f"X-{vendor}-Date={date}&X-{vendor}-Expires={seconds}&X-{vendor}-Signature=ab12"
    return f"https://shop.s3.amazonaws.com/a.png?X-{vendor}-Algorithm=AWS4-HMAC-SHA256&{given}"


def ending(end: datetime) -> str:
    return (
        f"https://d1.cloudfront.net/a.png?Expires={int(end.timestamp())}&Signature=x&Key-Pair-Id=K"
    )


def shared(end: datetime, form: str = "%Y-%m-%dT%H%%3A%M%%3A%SZ") -> str:
    return f"https://shop.blob.core.windows.net/a/b.png?sv=2024-11-04&se={end:{form}}&sr=b&sig=x%3D"


HOUR, WEEK = timedelta(hours=1), timedelta(days=7)

REFUSED: dict[str, tuple[str, tuple[str, dict[str, Any]]]] = {
    "tools": ("tools_with_reasoning", chat("gpt-5.6-luna", tools=TOOLS)),
    "tools of a snapshot": ("tools_with_reasoning", chat("gpt-5.6-2026-07-01", tools=TOOLS)),
    "tools and effort": (
        "tools_with_reasoning",
        chat("gpt-5.6-terra", tools=TOOLS, reasoning_effort="low"),
    ),
    "tools and effort of 5.4": (
        "tools_with_reasoning",
        chat("gpt-5.4-mini", tools=TOOLS, reasoning_effort="medium"),
    ),
    "tools and effort of 5.5": (
        "tools_with_reasoning",
        chat("openai/gpt-5.5", tools=[*CUSTOM_TOOLS, *TOOLS], reasoning_effort="high"),
    ),
    "max_tokens": ("max_tokens", chat("gpt-5-mini", max_tokens=100)),
    "max_tokens of o3": ("max_tokens", chat("o3", max_tokens=100)),
    "max_tokens, fine-tuned": ("max_tokens", chat("ft:o4-mini-2025-04-16:shop::a1", max_tokens=1)),
    "background": ("background", responses(background=True)),
    "S3": ("expiring_url", seeing(signed(HOUR))),
    "S3, a day": ("expiring_url", seeing(signed(timedelta(days=1)))),
    "Google": ("expiring_url", seeing(signed(HOUR, vendor="Goog"))),
    "OSS": ("expiring_url", seeing(signed(HOUR, vendor="Oss"))),
    "CloudFront": ("expiring_url", seeing(ending(NOW + HOUR))),
    "long over": ("expiring_url", seeing(ending(NOW - WEEK))),
    "Azure": ("expiring_url", seeing(shared(NOW + HOUR))),
    "Azure, a date": ("expiring_url", seeing(shared(NOW, "%Y-%m-%d"))),
    "a file": (
        "expiring_url",
        responses(
            input=[
                {
                    "role": "user",
                    "content": [{"type": "input_file", "file_url": signed(HOUR)}],
                }
            ]
        ),
    ),
    "an image of responses": (
        "expiring_url",
        responses(
            input=[
                {
                    "role": "user",
                    "content": [{"type": "input_image", "image_url": shared(NOW + HOUR)}],
                }
            ]
        ),
    ),
    "a moderation": (
        "expiring_url",
        (
            "/v1/moderations",
            {
                "model": "omni-moderation-latest",
                "input": [{"type": "image_url", "image_url": {"url": signed(HOUR)}}],
            },
        ),
    ),
}

TAKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "no effort": chat("gpt-5.6-luna", tools=TOOLS, reasoning_effort="none"),
    "no tools": chat("gpt-5.6-luna", reasoning_effort="high"),
    "no function": chat("gpt-5.6-luna", tools=CUSTOM_TOOLS),
    "5.4 by default": chat("gpt-5.4-mini", tools=TOOLS),
    "5.4 without effort": chat("gpt-5.4", tools=TOOLS, reasoning_effort=None),
    "tools by responses": responses(tools=[{"type": "function", "name": "look"}]),
    "a model for ChatGPT": chat("gpt-5.6-chat-latest", tools=TOOLS, max_tokens=5),
    "max_tokens of 4.1": chat("gpt-4.1-mini", max_tokens=5),
    "max_tokens of Azure's 3.5": chat("gpt-35-turbo", max_tokens=5),
    "max_tokens of one that was not seen to refuse it": chat("gpt-6-luna", max_tokens=5),
    "max_tokens of another": chat("llama-3.1-8b", max_tokens=5),
    "no max_tokens": chat("gpt-5-mini", max_tokens=None, max_completion_tokens=5),
    "no background": responses(background=False),
    "a week": seeing(signed(WEEK)),
    "a week at Google": seeing(signed(WEEK, vendor="Goog")),
    "until next week": seeing(ending(NOW + WEEK)),
    "Azure, a week": seeing(shared(NOW + WEEK)),
    "a plain URL": seeing("https://shop.example.com/a.png?v=3&expires=0"),
    "data": seeing("data:image/png;base64,AAAA?se="),
    "broken": seeing(f"https://[::1/a.png?X-Amz-Date=yesterday&X-Amz-Expires={'9' * 400}"),
    "no date": seeing("https://a/b?X-Amz-Expires=3600"),
    "far away": seeing(f"https://a/b?X-Amz-Date={NOW:%Y%m%dT%H%M%SZ}&X-Amz-Expires={'9' * 30}"),
    "in a text": chat("gpt-5.6-luna", messages=user(f"What is {signed(HOUR)}?")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    entry, (endpoint, body) = REFUSED[name]
    found = known_refusal(endpoint, body)
    assert found is not None
    assert found[0].name == entry
    rest = known_refusal(endpoint, body, off={entry})
    assert rest is None


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken(name: str) -> None:
    endpoint, body = TAKEN[name]
    assert known_refusal(endpoint, body) is None


def test_every_entry_has_its_source_and_its_day() -> None:
    for refusal in REFUSALS:
        assert "https://" in refusal.source
        assert datetime.strptime(refusal.seen, "%Y-%m-%d").replace(tzinfo=UTC) <= NOW
        assert refusal.name in {entry for entry, _ in REFUSED.values()}


def test_when_a_url_ends() -> None:
    second = NOW.replace(microsecond=0)
    assert expires_at(signed(HOUR)) == second + HOUR
    assert expires_at(ending(second)) == second
    assert expires_at(shared(second)) == second
    assert expires_at("https://shop.example.com/a.png") is None


# At the call


def asking(bench: Bench, name: str) -> Any:
    endpoint, body = REFUSED[name][1] if name in REFUSED else TAKEN[name]

    @bench.task
    def asks() -> Any:
        return client.post(endpoint.removeprefix("/v1"), body=body, cast_to=object)

    return asks


@pytest.mark.parametrize("name", ["tools", "max_tokens", "background", "S3"])
def test_it_is_told_at_the_call(bench: Bench, name: str) -> None:
    with pytest.raises(KnownRefusal) as refused:
        bench.run(asking(bench, name))
    assert bench.waiting() == 0
    said = str(refused.value)
    entry = REFUSED[name][0]
    assert f'batchq_known_refusals = {{"{entry}": False}}' in said
    assert "https://" in said
    assert refused.value.name == entry
    assert isinstance(refused.value, batchq.NotBatchable)
    assert "ab12" not in said


def test_it_is_one_of_the_sdks_errors_at_the_call(bench: Bench) -> None:
    @bench.task
    def asks() -> str:
        try:
            client.chat.completions.create(model="gpt-5-mini", messages=user("hello"), max_tokens=5)
        except openai.OpenAIError as error:
            return type(error).__name__
        return ""

    assert bench.run(asks) == "KnownRefusal"


@pytest.mark.parametrize("off", [False, "off"])
def test_an_entry_is_turned_off(make_bench: MakeBench, off: Any) -> None:
    bench = make_bench(batchq_known_refusals={"max_tokens": off})
    assert bench.run(asking(bench, "max_tokens"))
    with pytest.raises(KnownRefusal):
        bench.run(asking_tools(bench))


def asking_tools(bench: Bench) -> Any:
    @bench.task
    def asks_with_tools() -> Any:
        return client.post("/chat/completions", body=REFUSED["tools"][1][1], cast_to=object)

    return asks_with_tools


def test_what_a_wait_in_the_lane_adds_counts(make_bench: MakeBench) -> None:
    """Signed for 30 hours, and flushed after ten."""
    url = signed(timedelta(hours=30))

    def body_on(bench: Bench) -> Any:
        @bench.task
        def asks() -> Any:
            return client.post("/chat/completions", body=seeing(url)[1], cast_to=object)

        return asks

    soon = make_bench()
    assert soon.ask(body_on(soon))
    late = make_bench(batchq_flush_after=timedelta(hours=10))
    with pytest.raises(KnownRefusal):
        late.run(body_on(late))


def test_a_call_that_is_answered_gets_its_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its task goes on, a day later, its URL may be over: it is paid for and read."""
    task = asking(bench, "a week")
    result = bench.ask(task)
    bench.answer()
    monkeypatch.setattr("batchq.settings.refusals.WINDOW", timedelta(days=30))
    bench.deliver()
    assert result.state == "SUCCESS"


def test_a_live_call_is_sent(bench: Bench) -> None:
    @bench.task
    def asks() -> Any:
        with batchq.live():
            return client.post("/chat/completions", body=REFUSED["S3"][1][1], cast_to=object)

    assert bench.run(asks)
    assert bench.emulator.ledger()["live_calls"] == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_token": False}, "Did you mean max_tokens?"),
        ({"max_tokens": "no"}, "accepted is a dict such as"),
        (["max_tokens"], "accepted is a dict such as"),
    ],
)
def test_a_wrong_switch_is_told(given: Any, words: str) -> None:
    with pytest.raises(Exception, match=re.escape(words)):
        Settings.model_validate({"redis_url": "redis://here", "known_refusals": given})


# By validate


def test_validate_knows_the_same() -> None:
    for number, (entry, (endpoint, body)) in enumerate(REFUSED.values()):
        line = {"custom_id": str(number), "method": "POST", "url": endpoint, "body": body}
        lines = [json.dumps(line).encode()]
        (problem,) = BatchFile().problems(lines)
        assert entry in problem.what
        assert "https://" in problem.what
        assert not problem.fails_all
        assert list(BatchFile(off=frozenset({entry})).problems(lines)) == []


# Files at Azure


def test_azure_keeps_files_for_two_weeks_at_least() -> None:
    azure = {"azure": {"kind": "azure", "base_url": "https://shop.openai.azure.com"}}

    def settings_with(life: Any) -> Settings:
        return Settings.model_validate(
            {"redis_url": "redis://here", "accounts": azure, "file_expiry": life}
        )

    for life in (timedelta(days=14), timedelta(days=30), None):
        assert settings_with(life).file_expiry == life
    with pytest.raises(ConfigurationError, match=r"'azure'.* takes 14 to 30 days") as refused:
        settings_with(timedelta(days=13))
    assert "batchq_file_expiry" in str(refused.value)
    given = {"redis_url": "redis://here", "file_expiry": timedelta(days=2)}
    assert Settings.model_validate(given).file_expiry == timedelta(days=2)
