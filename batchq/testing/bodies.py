"""Whole answers, of what little a test says: in the form in which each endpoint gives them."""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchq.prompt import estimate_tokens
from batchq.testing.asked import Request

__all__ = ["MAKERS", "ToolCall"]

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a function that the model makes instead of talking."""

    name: str
    arguments: str


def _chat(request: Request, said: Any) -> Body:
    calls = _calls(said)
    message: Body = {"role": "assistant", "refusal": None, "annotations": []}
    if calls:
        functions = [{"name": call.name, "arguments": call.arguments} for call in calls]
        message["content"] = None
        message["tool_calls"] = [
            {"id": f"call_{place}", "type": "function", "function": function}
            for place, function in enumerate(functions)
        ]
    else:
        message["content"] = _text(said)
    reason = "tool_calls" if calls else "stop"
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": reason}
        for index in range(request.body.get("n") or 1)
    ]
    spent = _usage(request, message, "prompt_tokens", "completion_tokens")
    return {**_head(request, "chat.completion"), "choices": choices, "usage": spent}


def _completion(request: Request, said: Any) -> Body:
    text = _text(said)
    each = _inputs(request.body.get("prompt"))
    choices = [
        {"index": index, "text": text, "logprobs": None, "finish_reason": "stop"}
        for index in range(each * (request.body.get("n") or 1))
    ]
    spent = _usage(request, text, "prompt_tokens", "completion_tokens")
    return {**_head(request, "text_completion"), "choices": choices, "usage": spent}


def _response(request: Request, said: Any) -> Body:
    calls = _calls(said)
    output = list(map(_function_call, range(len(calls)), calls)) or [_message(_text(said))]
    given = {name: request.body.get(name, usual) for name, usual in _OF_A_RESPONSE.items()}
    spent = _usage(request, output, "input_tokens", "output_tokens")
    spent["input_tokens_details"] = {"cached_tokens": 0}
    spent["output_tokens_details"] = {"reasoning_tokens": 0}
    head = {"id": f"resp_{_place(request)}", "object": "response", "created_at": time.time()}
    end = {"status": "completed", "error": None, "incomplete_details": None}
    return {**head, "model": request.model, **given, **end, "output": output, "usage": spent}


def _function_call(place: int, call: ToolCall) -> Body:
    made = {"id": f"fc_{place}", "type": "function_call", "status": "completed"}
    return {**made, "call_id": f"call_{place}", "name": call.name, "arguments": call.arguments}


def _message(text: str) -> Body:
    content: Body = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    made: Body = {"id": "msg_0", "type": "message", "status": "completed", "role": "assistant"}
    return {**made, "content": [content]}


_OF_A_RESPONSE: Mapping[str, Any] = {
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
}
"""What a response says of its request, and says where the request does not."""


def _embeddings(request: Request, said: Any) -> Body:
    inputs = _inputs(request.body.get("input"))
    vectors = _vectors(said)
    if len(vectors) == 1:
        vectors *= inputs
    if len(vectors) != inputs:
        raise TypeError(f"{inputs} texts were given and {len(vectors)} vectors answered")
    packed = request.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(v) if packed else list(v)}
        for index, v in enumerate(vectors)
    ]
    tokens = estimate_tokens(json.dumps(request.body).encode())
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": request.model, "usage": usage}


def _moderation(request: Request, said: Any) -> Body:
    if not isinstance(said, bool):
        raise TypeError("a moderation is answered by True, by False or by its whole body")
    # The SDK's model of an answer wants every category.
    from openai.types import moderation

    names = {
        kind: [field.alias or name for name, field in kind.model_fields.items()]
        for kind in (moderation.Categories, moderation.CategoryScores)
    }
    result = {
        "flagged": said,
        "categories": dict.fromkeys(names[moderation.Categories], said),
        "category_scores": dict.fromkeys(names[moderation.CategoryScores], float(said)),
        "category_applied_input_types": {each: ["text"] for each in names[moderation.Categories]},
    }
    results = [result] * _inputs(request.body.get("input"))
    return {"id": f"modr-{_place(request)}", "model": request.model, "results": results}


MAKERS: Mapping[str, Callable[[Request, Any], Body]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/v1/embeddings": _embeddings,
    "/v1/moderations": _moderation,
    "/v1/responses": _response,
}
"""Who makes a whole answer of a short one; elsewhere the test gives the whole body."""


def _head(request: Request, kind: str) -> Body:
    made = {"id": f"chatcmpl-{_place(request)}", "object": kind, "created": int(time.time())}
    return {**made, "model": request.model}


def _place(request: Request) -> str:
    return request.custom_id or "live"


def _text(said: Any) -> str:
    if not isinstance(said, str):
        raise TypeError("it is answered by a str, a pydantic model, tool calls or its whole body")
    return said


def _calls(said: Any) -> list[ToolCall]:
    items: list[Any] = said if isinstance(said, list) else [said]  # pyright: ignore[reportUnknownVariableType]
    return [item for item in items if isinstance(item, ToolCall)]


def _vectors(said: Any) -> list[Sequence[float]]:
    if isinstance(said, (str, bytes)) or not isinstance(said, Sequence) or not said:
        raise TypeError("embeddings are answered by a list of floats, or by one for each text")
    known: Sequence[Any] = said  # pyright: ignore[reportUnknownVariableType]
    return list(known) if isinstance(known[0], Sequence) else [known]


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _inputs(given: Any) -> int:
    """How many texts there are: a list of numbers is one, as tokens."""
    items: list[Any] = given if isinstance(given, list) else [given]  # pyright: ignore[reportUnknownVariableType]
    return 1 if items and isinstance(items[0], int) else len(items)


def _usage(request: Request, answer: Any, asked: str, answered: str) -> Body:
    used = [estimate_tokens(json.dumps(part).encode()) for part in (request.body, answer)]
    return {asked: used[0], answered: used[1], "total_tokens": sum(used)}
