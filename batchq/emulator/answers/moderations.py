"""`/v1/moderations`: flags a text that says what the category is about."""

from typing import Any

from batchq.emulator import tokens
from batchq.emulator.answers.text import number_from, words
from batchq.emulator.problems import missing
from batchq.emulator.shapes import JsonObject, as_list, as_object, identifier

DEFAULT_MODEL = "omni-moderation-latest"
CATEGORIES: dict[str, tuple[str, ...]] = {
    "harassment": ("idiot", "stupid", "loser", "moron"),
    "harassment/threatening": (),
    "hate": ("hate", "vermin", "subhuman"),
    "hate/threatening": (),
    "illicit": ("cocaine", "counterfeit", "smuggle"),
    "illicit/violent": (),
    "self-harm": ("suicide", "self-harm"),
    "self-harm/instructions": (),
    "self-harm/intent": (),
    "sexual": ("sex", "porn", "nude"),
    "sexual/minors": (),
    "violence": ("kill", "murder", "shoot", "stab", "bomb"),
    "violence/graphic": ("gore", "blood"),
}


def answer(body: JsonObject, created: int) -> JsonObject:
    del created  # a moderation is not dated
    if body.get("input") is None:
        raise missing("input")
    items = tokens.inputs_of(body)
    # A list of parts (text and images) is one input.
    inputs = [items] if items and as_object(items[0]) is not None else items
    return {
        "id": identifier("modr-", 32),
        "model": body.get("model") or DEFAULT_MODEL,
        "results": [_judged(item) for item in inputs],
    }


def _judged(item: Any) -> JsonObject:
    text = item if isinstance(item, str) else tokens.content_text(item)
    types = ["text"]
    if as_list(item) is not None and any(
        (as_object(part) or {}).get("type") == "image_url" for part in item
    ):
        types.append("image")
    said = {word.lower() for word in words(text)}
    flags = {
        category: any(word.startswith(signs) for word in said) if signs else False
        for category, signs in CATEGORIES.items()
    }
    scores = {
        category: (0.9 if flagged else 0.0) + number_from(category + text, 1000) / 20_000
        for category, flagged in flags.items()
    }
    applied = {category: types if flags[category] else [] for category in CATEGORIES}
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": scores,
        "category_applied_input_types": applied,
    }
