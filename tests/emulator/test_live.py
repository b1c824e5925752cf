"""The live endpoints, as the SDK calls them."""

import base64
import math
from typing import Any

import openai
import pytest

from batchq.emulator import running
from tests.emulator.support import MODEL, Desk, desk

HELLO: Any = [{"role": "user", "content": "Summarise: The sea is wide. It is blue."}]


def test_a_chat_streams(api: Desk) -> None:
    stream = api.client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    whole = api.client.chat.completions.create(model=MODEL, messages=HELLO)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage == whole.usage


def test_a_response_streams(api: Desk) -> None:
    with api.client.responses.stream(model=MODEL, input="Summarise: The sea is wide.") as stream:
        text = "".join(
            event.delta for event in stream if event.type == "response.output_text.delta"
        )
        final = stream.get_final_response()
    assert text == final.output_text == "The sea is wide."
    assert final.status == "completed"


@pytest.mark.parametrize("size", [8, 1536])
def test_embeddings_are_unit_vectors(api: Desk, size: int) -> None:
    answer = api.client.embeddings.create(
        model="text-embedding-3-small", input=["a b", "c"], dimensions=size
    )
    assert [item.index for item in answer.data] == [0, 1]
    for item in answer.data:
        assert len(item.embedding) == size
        assert math.hypot(*item.embedding) == pytest.approx(1, abs=1e-5)
    assert answer.usage.prompt_tokens == 2


def test_embeddings_are_the_same_in_either_encoding(api: Desk) -> None:
    create = api.client.embeddings.create
    usual = create(model="text-embedding-3-large", input="hello")
    floats = create(model="text-embedding-3-large", input="hello", encoding_format="float")
    packed: Any = create(model="text-embedding-3-large", input="hello", encoding_format="base64")
    assert len(usual.data[0].embedding) == 3072
    assert usual.data[0].embedding == pytest.approx(floats.data[0].embedding)
    assert len(base64.b64decode(packed.data[0].embedding)) == 3072 * 4


def test_texts_that_share_words_are_near_each_other(api: Desk) -> None:
    answer = api.client.embeddings.create(
        model="text-embedding-3-small",
        input=["the ferry is late", "why is the ferry late again", "quarterly tax return"],
    )
    one, near, far = (item.embedding for item in answer.data)
    assert _product(one, near) > 0.5 > _product(one, far)


def _product(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "body",
    [
        {"input": ""},
        {"input": []},
        {"input": ["x"] * 2049},
        {"input": "x" * 40_000},
        {"input": ["x" * 30_000] * 41},
        {"input": "x", "dimensions": 5000},
        {"input": "x", "encoding_format": "hex"},
        {},
    ],
)
def test_embeddings_have_their_limits(api: Desk, body: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        api.client.post(
            "/embeddings", body={"model": "text-embedding-3-small", **body}, cast_to=object
        )


def test_token_lists_are_inputs_too(api: Desk) -> None:
    answer = api.client.embeddings.create(model="text-embedding-3-small", input=[[1, 2], [3]])
    assert len(answer.data) == 2
    assert answer.usage.prompt_tokens == 3


def test_moderations_flag_what_they_should(api: Desk) -> None:
    answer = api.client.moderations.create(input=["I will kill you", "what a day"])
    assert [result.flagged for result in answer.results] == [True, False]
    assert answer.results[0].categories.violence


@pytest.mark.parametrize("form", ["b64_json", "url"])
def test_images_are_pictures(api: Desk, form: Any) -> None:
    answer = api.client.images.generate(model="dall-e-3", prompt="a cat", n=2, response_format=form)
    assert answer.data is not None
    assert len(answer.data) == 2
    encoded = answer.data[0].b64_json or (answer.data[0].url or "").partition(",")[2]
    assert base64.b64decode(encoded).startswith(b"\x89PNG")


def test_old_completions(api: Desk) -> None:
    answer = api.client.completions.create(model=MODEL, prompt=["one", "two"], max_tokens=50)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].text


def test_models(api: Desk) -> None:
    names = [model.id for model in api.client.models.list()]
    assert MODEL in names
    assert api.client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        api.client.models.retrieve("lunch")


def test_an_unknown_model_is_not_found_where_models_are_given() -> None:
    with running(arguments=["--models", "gpt-6-luna"]) as emulator:
        with pytest.raises(openai.NotFoundError) as missing:
            desk(emulator).client.chat.completions.create(model=MODEL, messages=HELLO)
        assert missing.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": HELLO}, None),
        ({"model": MODEL}, "messages"),
        ({"model": MODEL, "messages": []}, "messages"),
        ({"model": MODEL, "messages": "hello"}, "messages"),
        ({"model": MODEL, "messages": [{"content": "x"}]}, "messages[0].role"),
        ({"model": MODEL, "messages": HELLO, "temperature": 2.1}, "temperature"),
        ({"model": MODEL, "messages": HELLO, "temperature": "hot"}, "temperature"),
        ({"model": MODEL, "messages": HELLO, "top_p": -1}, "top_p"),
        ({"model": MODEL, "messages": HELLO, "max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_bad_request_names_its_parameter(
    api: Desk, body: dict[str, Any], param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        api.client.post("/chat/completions", body=body, cast_to=object)
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"


def test_a_body_that_is_not_json_is_refused(api: Desk) -> None:
    with pytest.raises(openai.BadRequestError, match="could not parse"):
        api.client.post("/chat/completions", content=b"{lunch", cast_to=object)
