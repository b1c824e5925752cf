"""What the models say: schemas that validate, tools, limits, and no surprises between two runs."""

import json
from typing import Any, Literal

import openai
import pytest
from jsonschema import Draft202012Validator
from openai.types import Batch
from pydantic import BaseModel, Field

from batchq.emulator.answers.instance import instance
from batchq.emulator.problems import Refusal
from tests.emulator.support import MODEL, Desk, chat_body, line

TICKET = (
    "Classify this ticket:\n\nHi, I am Maria Lopez. Invoice 4711 of 2026-03-01 was charged twice "
    "to my card, please refund 99.50 euros. Write to maria@example.org."
)


class Address(BaseModel):
    street: str
    zip_code: str = Field(pattern=r"^\d{5}$")


class Node(BaseModel):
    value: int
    children: list["Node"]


class Ticket(BaseModel):
    category: Literal["billing", "technical", "shipping"]
    urgency: int = Field(ge=1, le=5)
    score: float = Field(ge=0, le=1)
    customer_name: str
    email: str | None
    tags: list[str] = Field(min_length=2, max_length=4)
    address: Address
    tree: Node
    either: Address | Node


SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "string"},
    {"type": "null"},
    {"type": ["integer", "null"]},
    {"const": {"a": 1}},
    {"enum": [1, None, "x"]},
    {"type": "boolean"},
    {"type": "integer", "minimum": 5, "maximum": 5},
    {"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 7},
    {"type": "integer", "multipleOf": 7, "minimum": 50},
    {"type": "integer", "maximum": -10},
    {"type": "number", "multipleOf": 0.25, "maximum": 1},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    {"type": "string", "minLength": 200},
    {"type": "string", "maxLength": 3},
    {"type": "string", "minLength": 8, "maxLength": 8},
    {"type": "string", "pattern": r"^[A-Z]{2}-\d{4}(?:-[a-f]+)?$"},
    {"type": "string", "pattern": r"^(?:foo|bar)[^a-z]\w+\.$"},
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "email"},
    {"type": "string", "format": "ipv6"},
    {"type": "array", "items": {"type": "integer"}, "minItems": 5},
    {"type": "array", "items": {"type": "integer"}, "maxItems": 0},
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
    {"type": "object", "required": ["unmentioned"]},
    {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    {"oneOf": [{"type": "integer", "multipleOf": 2}, {"type": "integer", "multipleOf": 3}]},
    {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 4}]},
    {"type": "object", "properties": {"a": {"type": "string"}}, "allOf": [{"required": ["a"]}]},
    {
        "$defs": {"a/b": {"type": "integer", "minimum": 9}},
        "type": "array",
        "items": {"$ref": "#/$defs/a~1b"},
        "minItems": 1,
    },
    {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["children"],
    },
    Ticket.model_json_schema(),
]


@pytest.mark.parametrize("text", ["", TICKET, "ünï 😀 cödé"])
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:60])
def test_an_instance_validates(schema: dict[str, Any], text: str) -> None:
    for seed in ("1", "2", "3"):
        made = instance(schema, text=text, seed=seed)
        Draft202012Validator(schema).validate(json.loads(json.dumps(made)))


def test_a_schema_too_hard_is_refused_in_words() -> None:
    impossible = {"type": "integer", "minimum": 2, "maximum": 1}
    with pytest.raises(Refusal, match="could not make up"):
        instance(impossible, text="", seed="1")


def test_a_parsed_answer_speaks_of_the_prompt(api: Desk) -> None:
    completion = api.client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": TICKET}], response_format=Ticket
    )
    ticket = completion.choices[0].message.parsed
    assert ticket is not None
    assert ticket.category == "billing"
    assert ticket.customer_name == "Maria Lopez"
    assert ticket.email == "maria@example.org"


def test_a_parsed_response_validates_too(api: Desk) -> None:
    response = api.client.responses.parse(model=MODEL, input=TICKET, text_format=Ticket)
    assert response.output_parsed is not None
    assert response.output_parsed.category == "billing"


def _schema_body(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "Label", "schema": schema, **more}}
    return chat_body("hello", response_format=form)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            "In context=(), 'additionalProperties' is required to be supplied and to be false.",
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": [],
                "additionalProperties": False,
            },
            (
                "In context=(), 'required' is required to be supplied and to be an array "
                "including every key in properties. Missing 'a'."
            ),
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"oneOf": [{"type": "string"}]}},
                "required": ["a"],
                "additionalProperties": False,
            },
            "In context=('properties', 'a'), 'oneOf' is not permitted.",
        ),
        (
            {"type": "array", "items": {"type": "string"}},
            "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"array\"'.",
        ),
    ],
)
def test_a_schema_that_breaks_strict_is_refused(
    api: Desk, schema: dict[str, Any], message: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        api.client.post("/chat/completions", body=_schema_body(schema, strict=True), cast_to=object)
    assert refused.value.body == {
        "message": f"Invalid schema for response_format 'Label': {message}",
        "type": "invalid_request_error",
        "param": "response_format",
        "code": None,
    }


def test_a_loose_schema_is_fine_without_strict(api: Desk) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    done = api.run([line("a", _schema_body(schema))])
    assert isinstance(json.loads(_contents(api, done)["a"])["a"], int)


def test_json_mode_needs_the_word(api: Desk) -> None:
    form: Any = {"type": "json_object"}
    done = api.run(
        [
            line("told", chat_body("Say it in JSON", response_format=form)),
            line("untold", chat_body("Say it", response_format=form)),
        ]
    )
    assert json.loads(_contents(api, done)["told"])
    (refused,) = api.rows(done.error_file_id)
    assert "must contain the word 'json'" in refused["response"]["body"]["error"]["message"]


def _contents(api: Desk, done: Batch) -> dict[str, str]:
    return {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in api.rows(done.output_file_id)
    }


TOOL: dict[str, Any] = {
    "name": "book",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "nights": {"type": "integer", "minimum": 1}},
        "required": ["city", "nights"],
        "additionalProperties": False,
    },
    "strict": True,
}
# Any: the SDK's own types of a tool are of no interest here.
CHAT_TOOLS: Any = [{"type": "function", "function": TOOL}]
RESPONSE_TOOLS: Any = [{"type": "function", **TOOL}]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "book"}}])
def test_a_forced_tool_is_called_with_valid_arguments(api: Desk, choice: Any) -> None:
    completion = api.client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "3 nights in Lisbon"}],
        tools=CHAT_TOOLS,
        tool_choice=choice,
    )
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "book"
    assert json.loads(calls[0].function.arguments)["nights"] == 3


def test_a_forced_tool_of_a_response(api: Desk) -> None:
    response = api.client.responses.create(
        model=MODEL,
        input="3 nights in Lisbon",
        tools=RESPONSE_TOOLS,
        tool_choice={"type": "function", "name": "book"},
    )
    call = response.output[0]
    assert call.type == "function_call"
    assert json.loads(call.arguments)["nights"] == 3


def test_a_tool_that_is_not_there_cannot_be_forced(api: Desk) -> None:
    body = chat_body("x", tool_choice={"type": "function", "function": {"name": "book"}})
    with pytest.raises(openai.BadRequestError) as refused:
        api.client.post("/chat/completions", body=body, cast_to=object)
    assert refused.value.param == "tool_choice"


BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", chat_body("Summarise: The sea is wide. It is blue.", n=2)),
    ("/v1/chat/completions", _schema_body({"type": "object", "properties": {"a": {}}})),
    ("/v1/responses", {"model": MODEL, "input": "Give keywords: tide, wind and waves"}),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a b", "c"]}),
    ("/v1/completions", {"model": MODEL, "prompt": ["one", "two"]}),
    ("/v1/moderations", {"model": "omni-moderation-latest", "input": "I will kill the process"}),
    ("/v1/images/generations", {"model": "gpt-image-1", "prompt": "a cat", "n": 2}),
]


@pytest.mark.parametrize(("endpoint", "body"), BODIES)
def test_the_batch_answers_as_the_live_endpoint_does(
    api: Desk, endpoint: str, body: dict[str, Any]
) -> None:
    done = api.run([line("one", body, endpoint)], endpoint)
    batched = api.rows(done.output_file_id)[0]["response"]["body"]
    live: Any = api.client.post(endpoint.removeprefix("/v1"), body=body, cast_to=object)
    assert _timeless(batched) == _timeless(live)


def _timeless(value: Any) -> Any:
    """An answer without its ids and dates."""
    if isinstance(value, dict):
        skipped = ("id", "created", "created_at")
        return {name: _timeless(item) for name, item in value.items() if name not in skipped}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Summarise this:\n\nThe sea is wide. It is blue.", "The sea is wide."),
        ("Answer with one of: cat, dog or bird.\n\nIt barks like a dog does.", "dog"),
        ("Sentiment?\n\nI love it, thank you!", "positive"),
        ("Keywords: tide tide wind", "tide, wind"),
        ("Write a title: the tide and the wind", "Tide Wind"),
    ],
)
def test_a_plain_answer_is_made_of_the_prompts_words(api: Desk, prompt: str, answer: str) -> None:
    completion = api.client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": prompt}]
    )
    assert completion.choices[0].message.content == answer


def test_an_answer_longer_than_its_limit_is_cut(api: Desk) -> None:
    body = chat_body("Summarise: " + "word " * 30, max_completion_tokens=2)
    done = api.run([line("a", body)])
    answer = api.rows(done.output_file_id)[0]["response"]["body"]
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2
    response = api.client.responses.create(
        model=MODEL, input="Summarise: " + "word " * 30, max_output_tokens=2
    )
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_parsed_answer_that_is_cut_raises_as_the_sdk_does(api: Desk) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        api.client.chat.completions.parse(
            model=MODEL,
            messages=[{"role": "user", "content": TICKET}],
            response_format=Ticket,
            max_completion_tokens=3,
        )
