"""How the emulator counts tokens: four bytes of UTF-8 make one, rounded up.

It has no tokenizer, on purpose: the count is cheap, the same everywhere, and needs no download.
A chat message costs four tokens more, and every chat request three.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchq.emulator.shapes import JsonObject, as_list, as_object

BYTES_PER_TOKEN = 4
PER_MESSAGE = 4
PER_REQUEST = 3


@dataclass(frozen=True)
class Usage:
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


def count(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def cut(text: str, tokens: int) -> str:
    """As much of the text as so many tokens hold."""
    return text.encode("utf-8", "surrogatepass")[: tokens * BYTES_PER_TOKEN].decode(
        "utf-8", "ignore"
    )


def content_text(content: Any) -> str:
    """The words of a message: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    parts = [as_object(part) for part in as_list(content) or []]
    texts = [part.get("text") for part in parts if part is not None]
    return "\n".join(text for text in texts if isinstance(text, str))


def messages_of(body: Mapping[str, Any]) -> list[JsonObject]:
    """The messages of a chat or Responses request, as far as they are messages."""
    if isinstance(body.get("input"), str):
        return [{"role": "user", "content": body["input"]}]
    items = as_list(body.get("messages")) or as_list(body.get("input")) or []
    return [message for item in items if (message := as_object(item)) is not None]


def inputs_of(body: Mapping[str, Any]) -> list[Any]:
    """The items of an `input` or `prompt` that may be one text, one token list or a list."""
    value = body.get("input", body.get("prompt"))
    items = as_list(value)
    if items is None:
        return [] if value is None else [value]
    return [items] if items and isinstance(items[0], int) else items


def item_tokens(item: Any) -> int:
    """A text by its bytes, a list of token ids by its length, an image or other part as 85."""
    if isinstance(item, str):
        return count(item)
    ids = as_list(item)
    return len(ids) if ids is not None else 85


def prompt_tokens(endpoint: str, body: Mapping[str, Any]) -> int:
    """What a request counts as input: in its usage, and against the enqueued-token limit."""
    if endpoint in ("/v1/chat/completions", "/v1/responses"):
        spoken = sum(
            count(content_text(message.get("content"))) + PER_MESSAGE
            for message in messages_of(body)
        )
        instructions = body.get("instructions")
        told = count(instructions) if isinstance(instructions, str) else 0
        return spoken + told + PER_REQUEST
    return sum(item_tokens(item) for item in inputs_of(body))


def usage_of(body: Mapping[str, Any]) -> Usage:
    """The usage an answer reports, under either of OpenAI's two sets of names."""
    usage = as_object(body.get("usage")) or {}
    details = (
        as_object(usage.get("prompt_tokens_details"))
        or as_object(usage.get("input_tokens_details"))
        or {}
    )
    return Usage(
        input_tokens=_number(usage.get("prompt_tokens", usage.get("input_tokens"))),
        cached_tokens=_number(details.get("cached_tokens")),
        output_tokens=_number(usage.get("completion_tokens", usage.get("output_tokens"))),
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
