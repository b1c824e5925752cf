"""`/v1/responses`."""

from collections.abc import Iterator
from typing import Any

from batchq.emulator import tokens
from batchq.emulator.answers.chat import pieces
from batchq.emulator.answers.request import (
    check_range,
    conversation,
    model_of,
    positive_integer,
)
from batchq.emulator.answers.structured import arguments_for, forced_function, formatted
from batchq.emulator.prices import snapshot
from batchq.emulator.problems import missing, wrong_type
from batchq.emulator.shapes import JsonObject, as_list, as_object, identifier

ENDPOINT = "/v1/responses"


def answer(body: JsonObject, created: int) -> JsonObject:
    model = model_of(body)
    _check(body)
    said = conversation(body)
    limit = positive_integer(body, "max_output_tokens")
    function = forced_function(body)
    if function is not None:
        text = arguments_for(function, said)
        item, spent, short = _call(function, text, said.seed), tokens.count(text), False
    else:
        form = as_object((as_object(body.get("text")) or {}).get("format"))
        text = formatted(form, said, param="text.format")
        spent = tokens.count(text)
        short = limit is not None and spent > limit
        if short and limit is not None:
            text, spent = tokens.cut(text, limit), limit
        item = _message(text, short=short)
    prompt = tokens.prompt_tokens(ENDPOINT, body)
    return {
        "id": identifier("resp_", 48),
        "object": "response",
        "created_at": created,
        "status": "incomplete" if short else "completed",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if short else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": limit,
        "model": snapshot(model),
        "output": [item],
        "parallel_tool_calls": _given(body, "parallel_tool_calls", otherwise=True),
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": _given(body, "reasoning", {"effort": None, "summary": None}),
        "service_tier": "default",
        "store": _given(body, "store", otherwise=True),
        "temperature": _given(body, "temperature", 1.0),
        "text": _given(body, "text", {"format": {"type": "text"}}),
        "tool_choice": _given(body, "tool_choice", "auto"),
        "tools": _given(body, "tools", []),
        "top_p": _given(body, "top_p", 1.0),
        "truncation": _given(body, "truncation", "disabled"),
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": spent,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + spent,
        },
        "user": body.get("user"),
        "metadata": _given(body, "metadata", {}),
    }


def _check(body: JsonObject) -> None:
    asked = body.get("input")
    if asked is None and body.get("prompt") is None:
        raise missing("input")
    if asked is not None and not isinstance(asked, str) and as_list(asked) is None:
        raise wrong_type("input", "a string or an array", asked)
    check_range(body, "temperature", 0, 2)
    check_range(body, "top_p", 0, 1)


def _given(body: JsonObject, name: str, otherwise: Any) -> Any:
    value = body.get(name)
    return otherwise if value is None else value


def _message(text: str, *, short: bool) -> JsonObject:
    content: JsonObject = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": identifier("msg_", 48),
        "type": "message",
        "status": "incomplete" if short else "completed",
        "role": "assistant",
        "content": [content],
    }


def _call(function: JsonObject, arguments: str, seed: str) -> JsonObject:
    return {
        "id": identifier("fc_", 48),
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{seed[:24]}",
        "name": function["name"],
        "arguments": arguments,
    }


def events(response: JsonObject) -> Iterator[JsonObject]:
    """The same response as a stream sends it: its text, in pieces, or its call at once."""
    started: JsonObject = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    for position, item in enumerate(response["output"]):
        place = {"output_index": position}
        if item["type"] == "message":
            empty: JsonObject = {**item, "status": "in_progress", "content": []}
            yield {"type": "response.output_item.added", **place, "item": empty}
            yield from _text_events(item, place)
        else:
            yield {"type": "response.output_item.added", **place, "item": item}
        if item["type"] == "function_call":
            called = {"item_id": item["id"], "name": item["name"], "arguments": item["arguments"]}
            yield {"type": "response.function_call_arguments.done", **place, **called}
        yield {"type": "response.output_item.done", **place, "item": item}
    ending = "completed" if response["status"] == "completed" else "incomplete"
    yield {"type": f"response.{ending}", "response": response}


def _text_events(item: JsonObject, place: JsonObject) -> Iterator[JsonObject]:
    part = item["content"][0]
    where = {**place, "content_index": 0, "item_id": item["id"]}
    yield {"type": "response.content_part.added", **where, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield {"type": "response.output_text.delta", **where, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **where, "part": part}
