"""What the answers need to know of a request: its words, and a seed that is its own."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from batchq.emulator.problems import Refusal, missing, wrong_type
from batchq.emulator.shapes import JsonObject, is_integer
from batchq.emulator.tokens import content_text, messages_of

# Fields that change how an answer travels, not what it says.
VOLATILE = frozenset({"stream", "stream_options", "metadata", "service_tier", "store", "user"})


@dataclass(frozen=True)
class Conversation:
    """Everything that was said, the user's last message, and the request's seed."""

    task: str
    text: str
    seed: str


def seed_of(body: JsonObject) -> str:
    """Equal requests have equal seeds, however they come in."""
    kept = {key: value for key, value in body.items() if key not in VOLATILE}
    return sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def conversation(body: JsonObject) -> Conversation:
    messages = messages_of(body)
    texts = [content_text(message.get("content")) for message in messages]
    asked = [
        text
        for message, text in zip(messages, texts, strict=True)
        if message.get("role") == "user" and text
    ]
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        texts.insert(0, instructions)
    return Conversation("\n".join(texts), asked[-1] if asked else "", seed_of(body))


def model_of(body: JsonObject) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal(400, "you must provide a model parameter")
    return model


def required(body: JsonObject, name: str) -> object:
    if body.get(name) is None:
        raise missing(name)
    return body[name]


def positive_integer(body: JsonObject, *names: str) -> int | None:
    """The first of these parameters that is given."""
    for name in names:
        value: Any = body.get(name)
        if value is None:
            continue
        if not is_integer(value):
            raise wrong_type(name, "an integer", value)
        if value < 1:
            raise Refusal(
                400,
                f"Invalid '{name}': integer below minimum value. "
                f"Expected a value >= 1, but got {value} instead.",
                param=name,
                code="integer_below_min_value",
            )
        return int(value)
    return None


def check_range(body: JsonObject, name: str, low: float, high: float) -> None:
    """Refuse a sampling parameter outside its bounds."""
    value = body.get(name)
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_type(name, "a decimal", value)
    if not low <= value <= high:
        side, sign, bound = (
            ("below minimum", ">=", low) if value < low else ("above maximum", "<=", high)
        )
        raise Refusal(
            400,
            f"Invalid '{name}': decimal {side} value. "
            f"Expected a value {sign} {bound:g}, but got {value} instead.",
            param=name,
            code=f"decimal_{side.replace(' ', '_').replace('imum', '')}_value",
        )
