"""The events with which the Responses API streams what it answers, from the whole answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["response_events"]

Json = dict[str, Any]
Events = Iterator[Json]


def response_events(response: Json) -> Events:
    """All of them in order, each text in one piece; they are not numbered yet."""
    unsaid: Json = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": unsaid}
    yield {"type": "response.in_progress", "response": unsaid}
    for index, item in enumerate(response.get("output") or []):
        yield from _item_events(item, index)
    end = _ENDS.get(str(response.get("status")), "completed")
    yield {"type": f"response.{end}", "response": response}


_ENDS = {"failed": "failed", "incomplete": "incomplete", "cancelled": "failed"}


def _item_events(item: Json, index: int) -> Events:
    kind = item.get("type", "")
    empty, parts = _ITEMS.get(kind, ({}, _no_parts))
    begun = {"status": "in_progress"} if "status" in item else {}
    at = {"output_index": index}
    added = {**item, **begun, **{k: v for k, v in empty.items() if k in item}}
    yield {"type": "response.output_item.added", **at, "item": added}
    yield from parts(item, {**at, "item_id": item.get("id", "")})
    yield {"type": "response.output_item.done", **at, "item": item}


def _no_parts(_item: Json, _at: Json) -> Events:
    yield from ()


def _message(item: Json, at: Json) -> Events:
    for index, part in enumerate(item.get("content") or []):
        yield from _content(part, {**at, "content_index": index})


def _content(part: Json, at: Json) -> Events:
    name, key = _CONTENTS.get(part.get("type", ""), ("", ""))
    empty: Json = {key: "", "annotations": [], "logprobs": []}
    begun: Json = {**part, **{k: v for k, v in empty.items() if k in part}}
    yield {"type": "response.content_part.added", **at, "part": begun}
    if key:
        yield from _text(f"response.{name}", key, part, at)
    yield {"type": "response.content_part.done", **at, "part": part}


_CONTENTS = {
    "output_text": ("output_text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("reasoning_text", "text"),
}


def _text(name: str, key: str, part: Json, at: Json) -> Events:
    more: Json = {"logprobs": part.get("logprobs") or []} if name == "response.output_text" else {}
    yield {"type": f"{name}.delta", **at, "delta": part[key], **more}
    for index, annotation in enumerate(part.get("annotations") or []):
        where = {**at, "annotation_index": index}
        yield {"type": f"{name}.annotation.added", **where, "annotation": annotation}
    yield {"type": f"{name}.done", **at, key: part[key], **more}


def _reasoning(item: Json, at: Json) -> Events:
    for index, part in enumerate(item.get("summary") or []):
        yield from _summary(part, {**at, "summary_index": index})
    yield from _message(item, at)


def _summary(part: Json, at: Json) -> Events:
    name = "response.reasoning_summary"
    yield {"type": f"{name}_part.added", **at, "part": {**part, "text": ""}}
    yield from _text(f"{name}_text", "text", part, at)
    yield {"type": f"{name}_part.done", **at, "part": part}


def _written(name: str, key: str) -> Callable[[Json, Json], Events]:
    """The events of an item whose one text is written by the model."""

    def events(item: Json, at: Json) -> Events:
        text = item.get(key) or ""
        named = {"name": item["name"]} if name == "function_call_arguments" else {}
        yield {"type": f"response.{name}.delta", **at, "delta": text}
        yield {"type": f"response.{name}.done", **at, key: text, **named}

    return events


_ITEMS: Mapping[str, tuple[Json, Callable[[Json, Json], Events]]] = {
    "message": ({"content": []}, _message),
    "reasoning": ({"summary": [], "content": []}, _reasoning),
    "function_call": ({"arguments": ""}, _written("function_call_arguments", "arguments")),
    "mcp_call": ({"arguments": ""}, _written("mcp_call_arguments", "arguments")),
    "custom_tool_call": ({"input": ""}, _written("custom_tool_call_input", "input")),
    "code_interpreter_call": ({"code": ""}, _written("code_interpreter_call_code", "code")),
}
"""By its type: what an item is without before it is written, and the events of the writing."""
