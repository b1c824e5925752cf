"""A JSON Schema made ready: read once, with its references and parts folded in where it is used."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator

from batchq.emulator.shapes import JsonObject, as_list, as_object


@dataclass(frozen=True)
class Prepared:
    """A schema ready for use: read once, for all the lines that carry it."""

    schema: JsonObject
    validator: Any  # the library's validators have no common public type

    def valid(self, instance: Any) -> bool:
        return bool(self.validator.is_valid(instance))


@lru_cache(maxsize=256)
def prepared(text: str) -> Prepared:
    schema = json.loads(text)
    Draft202012Validator.check_schema(schema)
    return Prepared(
        schema, Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    )


def resolved(schema: JsonObject, root: JsonObject) -> JsonObject:
    """The schema with its `$ref` and `allOf` folded in."""
    for _ in range(50):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            break
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**_pointed(reference, root), **rest}
    for part in as_list(schema.get("allOf")) or []:
        known = as_object(part)
        if known is not None:
            schema = merged(schema, resolved(known, root))
    return schema


def _pointed(reference: str, root: JsonObject) -> JsonObject:
    target: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        items = as_list(target)
        target = items[int(name)] if items is not None else (as_object(target) or {}).get(name)
    return as_object(target) or {}


def merged(one: JsonObject, other: JsonObject) -> JsonObject:
    """Both schemas at once, as `allOf` means it, for the keywords that add up."""
    both = {**one, **other}
    both.pop("allOf", None)
    for name in ("properties", "$defs"):
        if name in one and name in other:
            both[name] = {**one[name], **other[name]}
    if "required" in one and "required" in other:
        both["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    for name in ("minimum", "minLength", "minItems", "exclusiveMinimum"):
        if name in one and name in other:
            both[name] = max(one[name], other[name])
    for name in ("maximum", "maxLength", "maxItems", "exclusiveMaximum"):
        if name in one and name in other:
            both[name] = min(one[name], other[name])
    return both
