"""A recorded answer as the server-sent events of a stream, each part of it in one piece.

The body asked for a stream and a batch gave the whole. What the SDK puts together of these events
is what it would have made of the answer itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from batchq.capture.http.response_events import response_events

__all__ = ["STREAMED", "as_stream"]

Json = dict[str, Any]
Events = Iterator[bytes]


def as_stream(endpoint: str, answer: Json, asked: Json) -> bytes:
    """``answer`` as the live API would have streamed it for the request ``asked``."""
    return b"".join(STREAMED[endpoint](answer, asked))


def _data(value: Json) -> bytes:
    # In ASCII: readers of events that split lines as Python does would split at U+2028 as well.
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _chat(answer: Json, asked: Json) -> Events:
    yield from _chunks(answer, "chat.completion.chunk", _said_and_ended, asked)


def _legacy(answer: Json, asked: Json) -> Events:
    yield from _chunks(answer, "text_completion", lambda choice: [choice], asked)


def _chunks(answer: Json, kind: str, parts: Callable[[Json], list[Json]], asked: Json) -> Events:
    head = {key: value for key, value in answer.items() if key not in {"choices", "usage"}}
    head["object"] = kind
    usage = _asks_for_usage(asked.get("stream_options"))
    if usage:
        head["usage"] = None
    for choice in sorted(answer["choices"], key=lambda choice: choice.get("index", 0)):
        for part in parts(choice):
            yield _data({**head, "choices": [part]})
    if usage:
        yield _data({**head, "choices": [], "usage": answer.get("usage")})
    yield b"data: [DONE]\n\n"


def _asks_for_usage(options: object) -> bool:
    return isinstance(options, dict) and bool(cast("Json", options).get("include_usage"))


def _said_and_ended(choice: Json) -> list[Json]:
    """What was said, and then why it ended: readers look for both in chunks of their own."""
    said = {key: value for key, value in choice.items() if key not in {"message", "finish_reason"}}
    message = dict(choice.get("message") or {})
    if message.get("tool_calls"):
        calls = enumerate(message["tool_calls"])
        message["tool_calls"] = [{"index": index, **call} for index, call in calls]
    first = {**said, "delta": message, "finish_reason": None}
    last: Json = {"index": choice.get("index", 0), "delta": {}, "logprobs": None}
    return [first, {**last, "finish_reason": choice.get("finish_reason")}]


def _responses(answer: Json, _asked: Json) -> Events:
    for number, event in enumerate(response_events(answer)):
        numbered = {**event, "sequence_number": number}
        yield b"event: " + event["type"].encode() + b"\n" + _data(numbered)


STREAMED: Mapping[str, Callable[[Json, Json], Events]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _legacy,
    "/v1/responses": _responses,
}
"""The endpoints whose answers can be given as a stream."""
