"""`/v1/embeddings`: unit vectors, near each other where the texts share words."""

import base64
import math
from array import array
from functools import lru_cache
from hashlib import sha256, shake_128
from itertools import repeat
from operator import mul
from typing import Any

from batchq.emulator import tokens
from batchq.emulator.answers.request import model_of, positive_integer
from batchq.emulator.answers.text import words
from batchq.emulator.problems import Refusal, missing, unsupported_value, wrong_type
from batchq.emulator.shapes import JsonObject, as_list

SIZES = {"text-embedding-3-large": 3072}
DEFAULT_SIZE = 1536
MOST_INPUTS = 2048
MOST_ITEM_TOKENS = 8192
MOST_REQUEST_TOKENS = 300_000
PLACES = 12  # a word shows in so many dimensions


def answer(body: JsonObject, created: int) -> JsonObject:
    del created  # an embedding is not dated
    model = model_of(body)
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise unsupported_value("encoding_format", encoding, ("float", "base64"))
    items = _items(body)
    asked = sum(tokens.item_tokens(item) for item in items)
    if asked > MOST_REQUEST_TOKENS:
        raise Refusal(
            400,
            f"Requested {asked} tokens, max {MOST_REQUEST_TOKENS} tokens per request",
            kind="max_tokens_per_request",
            code="max_tokens_per_request",
        )
    size = _size(body, model)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(item, size, encoding)}
            for index, item in enumerate(items)
        ],
        "model": model,
        "usage": {"prompt_tokens": asked, "total_tokens": asked},
    }


def _items(body: JsonObject) -> list[Any]:
    if body.get("input") is None:
        raise missing("input")
    items = tokens.inputs_of(body)
    if not items or "" in items:
        raise Refusal(400, "'$.input' is invalid. Please check the API reference.", param=None)
    if len(items) > MOST_INPUTS:
        raise Refusal(
            400,
            f"Invalid 'input': array too long. Expected an array with maximum length "
            f"{MOST_INPUTS}, but got an array with length {len(items)} instead.",
            param="input",
            code="array_above_max_length",
        )
    for item in items:
        if not isinstance(item, str) and as_list(item) is None:
            raise wrong_type("input", "a string, or an array of strings or tokens", item)
        asked = tokens.item_tokens(item)
        if asked > MOST_ITEM_TOKENS:
            raise Refusal(
                400,
                f"This model's maximum context length is {MOST_ITEM_TOKENS} tokens, however you "
                f"requested {asked} tokens. Please reduce your prompt.",
            )
    return items


def _size(body: JsonObject, model: str) -> int:
    most = SIZES.get(model, DEFAULT_SIZE)
    size = positive_integer(body, "dimensions") or most
    if size > most:
        raise Refusal(
            400,
            f"Invalid value for 'dimensions' = {size}. Must be less than or equal to {most}.",
            param="dimensions",
        )
    return size


def _encoded(item: Any, size: int, encoding: str) -> str | list[float]:
    numbers = vector(item if isinstance(item, str) else repr(item), size)
    if encoding == "base64":
        return base64.b64encode(numbers.tobytes()).decode()
    return numbers.tolist()


def vector(text: str, size: int) -> "array[float]":
    """A unit vector: a few dimensions for each word, and a little noise of the whole text."""
    noise = array("b", shake_128(text.encode("utf-8", "surrogatepass")).digest(size))
    numbers = list(map(mul, noise, repeat(0.0002)))
    for word in words(text.lower()):
        for place, sign in _places(word):
            numbers[place % size] += sign
    length = math.sqrt(sum(map(mul, numbers, numbers))) or 1.0
    return array("f", map(mul, numbers, repeat(1.0 / length)))


@lru_cache(maxsize=10_000)
def _places(word: str) -> tuple[tuple[int, int], ...]:
    digest = sha256(word.encode("utf-8", "surrogatepass")).digest()
    pairs = zip(digest[0::2], digest[1::2], strict=True)
    spots = [(high << 8) | low for high, low in pairs][:PLACES]
    return tuple((spot >> 1, 1 if spot & 1 else -1) for spot in spots)
