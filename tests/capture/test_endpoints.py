"""Every endpoint that has a batch is captured; every other call is refused, in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI, OpenAIError
from pydantic import BaseModel

from batchq import NotBatchable
from tests.capture.bench import MODEL, Bench, user

EMBEDDER = "text-embedding-3-small"
client = OpenAI()
# Captured calls open no connection, so one client does for the event loops of all tests.
async_client = AsyncOpenAI()


class Label(BaseModel):
    name: str
    urgent: bool


Call = Callable[[Any], Any]

BATCHABLE: dict[str, tuple[str, Call]] = {
    "chat.completions.create": (
        "/v1/chat/completions",
        lambda c: c.chat.completions.create(model=MODEL, messages=user("hello"), stream=False),
    ),
    "chat.completions.create with tools": (
        "/v1/chat/completions",
        lambda c: c.chat.completions.create(
            model=MODEL,
            messages=user("hello"),
            extra_body={"our_own": [1, 2]},
            service_tier="flex",
        ),
    ),
    "chat.completions.parse": (
        "/v1/chat/completions",
        lambda c: c.chat.completions.parse(
            model=MODEL, messages=user("hello"), response_format=Label
        ),
    ),
    "responses.create": (
        "/v1/responses",
        lambda c: c.responses.create(model=MODEL, input="hello"),
    ),
    "responses.parse": (
        "/v1/responses",
        lambda c: c.responses.parse(model=MODEL, input="hello", text_format=Label),
    ),
    "embeddings.create": (
        "/v1/embeddings",
        lambda c: c.embeddings.create(model=EMBEDDER, input="hello"),
    ),
    "embeddings.create of a list": (
        "/v1/embeddings",
        lambda c: c.embeddings.create(model=EMBEDDER, input=["one", "two"]),
    ),
    "embeddings.create of tokens": (
        "/v1/embeddings",
        lambda c: c.embeddings.create(model=EMBEDDER, input=[1, 2, 3]),
    ),
    "embeddings.create as floats": (
        "/v1/embeddings",
        lambda c: c.embeddings.create(model=EMBEDDER, input="hello", encoding_format="float"),
    ),
    "embeddings.create as base64": (
        "/v1/embeddings",
        lambda c: c.embeddings.create(model=EMBEDDER, input="hello", encoding_format="base64"),
    ),
    "completions.create": (
        "/v1/completions",
        lambda c: c.completions.create(model="gpt-3.5-turbo-instruct", prompt="hello"),
    ),
    "moderations.create": (
        "/v1/moderations",
        lambda c: c.moderations.create(model="omni-moderation-latest", input="hello"),
    ),
    "moderations.create without a model": (
        "/v1/moderations",
        lambda c: c.moderations.create(input="hello"),
    ),
    "images.generate": (
        "/v1/images/generations",
        lambda c: c.images.generate(model="gpt-image-1", prompt="a cat", size="1024x1024"),
    ),
}

OF_THE_MOMENT = {"id", "created", "created_at", "completed_at"}


def told(answer: Any) -> tuple[str, Any]:
    """The type of an answer and all it says, but for when it was said."""
    said = answer.model_dump(mode="json", warnings=False)
    return type(answer).__name__, {k: said[k] for k in said if k not in OF_THE_MOMENT}


@pytest.mark.parametrize("name", BATCHABLE)
def test_an_endpoint_with_a_batch_answers_as_live(bench: Bench, name: str) -> None:
    endpoint, call = BATCHABLE[name]
    endpoints: list[str] = []

    @bench.task
    def body() -> Any:
        return told(call(client))

    result = bench.ask(body)
    endpoints = [record.lane.endpoint for record in bench.journal.lanes.all()]
    bench.answer()
    bench.deliver()
    assert result.state == "SUCCESS", result.result
    kind, said = body()
    assert endpoints == [endpoint]
    assert result.result[0] == kind
    assert without_ids(result.result[1]) == without_ids(said)


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_ids(v) for k, v in value.items() if k not in OF_THE_MOMENT}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", BATCHABLE)
def test_an_async_client_captures_the_same_endpoints(bench: Bench, name: str) -> None:
    endpoint, call = BATCHABLE[name]

    async def called() -> Any:
        return told(await call(async_client))

    @bench.task
    def body() -> Any:
        return asyncio.run(called())

    result = bench.ask(body)
    assert [record.lane.endpoint for record in bench.journal.lanes.all()] == [endpoint]
    bench.answer()
    bench.deliver()
    assert result.state == "SUCCESS", result.result
    assert without_ids(result.result[1]) == without_ids(told(call(client))[1])


def test_a_moderation_without_a_model_names_the_default_on_its_line(bench: Bench) -> None:
    """The live API has a default here, and a batch line without a model is refused."""

    @bench.task
    def body() -> None:
        client.moderations.create(input="hello")

    bench.ask(body)
    assert [r.lane.model for r in bench.journal.lanes.all()] == ["omni-moderation-latest"]


def test_the_texts_of_an_embeddings_call_are_counted(bench: Bench) -> None:
    """A file takes 50,000 inputs over all its lines; a list of tokens is one input."""
    inputs: list[Any] = ["one text", ["one", "two", "three"], [1, 2, 3, 4], [[1, 2], [3]]]

    @bench.task
    def body(number: int) -> None:
        client.embeddings.create(model=EMBEDDER, input=inputs[number])

    counts: list[int] = []
    for number in range(len(inputs)):
        task_id = bench.ask(body, number).id
        counts.append(int(bench.journal.store.redis.hget(f"{{batchq}}:task:{task_id}", "0:inputs")))
    assert counts == [1, 3, 1, 2]


# What a batch cannot do


FILE = ("a.png", b"\x89PNG\xff\xfe", "image/png")

REFUSED: dict[str, tuple[Call, str, str]] = {
    "a stream of images": (
        lambda c: c.images.generate(model="gpt-image-1", prompt="a cat", stream=True),
        "/v1/images/generations",
        "stream=True",
    ),
    "speech": (
        lambda c: c.audio.speech.create(model="tts-1", input="a", voice="alloy"),
        "/v1/audio/speech",
        "no batch",
    ),
    "a transcription": (
        lambda c: c.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF")),
        "/v1/audio/transcriptions",
        "no batch",
    ),
    "the list of models": (lambda c: c.models.list(), "/v1/models", "no batch"),
    "an upload": (
        lambda c: c.files.create(file=("a.jsonl", b"{}"), purpose="batch"),
        "/v1/files",
        "no batch",
    ),
    "a stored response": (lambda c: c.responses.retrieve("resp_1"), "/v1/responses", "no batch"),
    "an image edit": (
        lambda c: c.images.edit(model="gpt-image-1", image=FILE, prompt="a cat"),
        "/v1/images/edits",
        "files or a form",
    ),
    "an image without a model": (
        lambda c: c.images.generate(prompt="a cat"),
        "/v1/images/generations",
        "names its model",
    ),
    "a header": (
        lambda c: c.embeddings.create(
            model=EMBEDDER, input="a", extra_headers={"X-Team": "blue", "x-cost-center": "7"}
        ),
        "/v1/embeddings",
        "x-cost-center, x-team",
    ),
    "a header of the client": (
        lambda c: c.with_options(default_headers={"OpenAI-Beta": "x=1"}).embeddings.create(
            model=EMBEDDER, input="a"
        ),
        "/v1/embeddings",
        "openai-beta",
    ),
    "a query": (
        lambda c: c.embeddings.create(model=EMBEDDER, input="a", extra_query={"trace": "1"}),
        "/v1/embeddings",
        "trace",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_no_batch_can_take_is_refused(
    bench: Bench, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the call, the reason and the way out; it is raised once; nothing goes out."""
    call, path, reason = REFUSED[name]
    caught: list[BaseException] = []

    @bench.task
    def body() -> None:
        try:
            call(client)
        except BaseException as error:
            caught.append(error)
            raise

    with caplog.at_level("DEBUG", logger="openai"), pytest.raises(NotBatchable) as refused:
        bench.run(body)
    for error in (caught[0], refused.value):
        assert isinstance(error, NotBatchable)
        assert path in str(error)
        assert reason in str(error)
        assert body.name in str(error)
        assert "with batchq.live()" in str(error)
    assert isinstance(caught[0], OpenAIError)
    assert "Retrying" not in caplog.text
    assert bench.waiting() == 0
    ledger = bench.emulator.ledger()
    assert (ledger["live_calls"], ledger["uploads"]) == (0, 0)


@pytest.mark.parametrize("name", REFUSED)
def test_an_async_client_is_refused_the_same_calls(bench: Bench, name: str) -> None:
    call, path, reason = REFUSED[name]

    async def called() -> None:
        await call(async_client)

    @bench.task
    def body() -> None:
        asyncio.run(called())

    with pytest.raises(NotBatchable, match=path) as refused:
        bench.run(body)
    assert reason in str(refused.value)
    assert bench.waiting() == 0
