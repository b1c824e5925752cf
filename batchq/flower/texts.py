"""What a request asks and an answer says, without the JSON around it: for people to read.

Whatever form a body has, this never raises: where nobody knows what to read in it, it is nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from batchq.money.usage import mapping, parsed

__all__ = ["spoken"]

Said = tuple[str, str]
"""Who, and what they said."""


def spoken(body: bytes) -> tuple[Said, ...]:
    """What stands in a request to, or in an answer of, one of the endpoints that have batches."""
    known = mapping(parsed(body))
    said = [*_asked(known), *_answered(known), *_failed(known)]
    # JSON may hold half of a character, which no page can.
    return tuple((_whole(who), _whole(text)) for who, text in said if text)


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


def _asked(body: Mapping[str, Any]) -> Iterator[Said]:
    yield "instructions", _text(body.get("instructions"))
    yield from _turns(body.get("messages"))
    yield from _inputs(body.get("input"))
    yield "prompt", _text(body.get("prompt"))


def _inputs(value: Any) -> Iterator[Said]:
    """Of the Responses API turns, of embeddings and moderations texts."""
    if isinstance(value, str):
        yield "input", value
        return
    for item in _list(value):
        if isinstance(item, str):
            yield "input", item
    yield from _turns(value)


def _answered(body: Mapping[str, Any]) -> Iterator[Said]:
    for choice in map(mapping, _list(body.get("choices"))):
        yield from _turns([choice.get("message")])
        yield "answer", _text(choice.get("text"))
    yield from _turns(body.get("output"))


def _failed(body: Mapping[str, Any]) -> Iterator[Said]:
    yield "error", _text(mapping(body.get("error")).get("message"))


def _turns(value: Any) -> Iterator[Said]:
    for turn in map(mapping, _list(value)):
        role = turn.get("role")
        who = role if isinstance(role, str) else "call"
        yield who, _text(turn.get("content"))
        yield f"{who} refuses", _text(turn.get("refusal"))
        for call in (turn, *map(mapping, _list(turn.get("tool_calls")))):
            yield "call", _call(mapping(call.get("function", call)))


def _call(function: Mapping[str, Any]) -> str:
    name, arguments = function.get("name"), function.get("arguments")
    known = isinstance(name, str) and isinstance(arguments, str)
    return f"{name}({arguments})" if known else ""


def _text(content: Any) -> str:
    """A text, or those among parts of several kinds; of an image that it is one."""
    if isinstance(content, str):
        return content
    parts = map(mapping, _list(content))
    return "\n".join(filter(None, map(_part, parts)))


def _part(part: Mapping[str, Any]) -> str:
    text = part.get("text", part.get("refusal"))
    if isinstance(text, str):
        return text
    kind = part.get("type")
    return f"[{kind}]" if isinstance(kind, str) else ""


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []  # type: ignore[redundant-cast]
