"""Makes an instance of a JSON Schema that speaks of the prompt, and validates it."""

import json
import math
from collections.abc import Callable
from typing import Any

from jsonschema.exceptions import SchemaError

from batchq.emulator.answers.about import About
from batchq.emulator.answers.numbers import integer, number
from batchq.emulator.answers.schema import merged, prepared, resolved
from batchq.emulator.answers.strings import string
from batchq.emulator.answers.text import choose, keywords, subject
from batchq.emulator.problems import Refusal
from batchq.emulator.shapes import JsonObject, as_list, as_object

DEEPEST = 6  # how deep a recursive schema is followed before it is closed
ATTEMPTS = 12


def instance(schema: JsonObject, *, text: str, seed: str) -> Any:
    """An instance that validates. A schema nothing can be made for is refused, in words."""
    try:
        ready = prepared(json.dumps(schema))
    except SchemaError as error:
        raise Refusal(400, f"Invalid schema: {error.message}") from None
    words = subject(text)
    for attempt in range(ATTEMPTS):
        about = About(words, f"{seed}/{attempt}" if attempt else seed, attempt)
        made = Maker(ready.schema, about).make()
        if ready.valid(made):
            return made
    raise Refusal(
        500,
        "The emulator could not make up an instance of this schema. Ask for something simpler, "
        "or give the emulator a real server with --upstream.",
        kind="server_error",
        code="emulator_schema_too_hard",
    )


class Maker:
    """One attempt at one instance."""

    def __init__(self, root: JsonObject, about: About) -> None:
        self._root = root
        self._about = about

    def make(self) -> Any:
        return self._value(self._root, "", 0)

    def _value(self, schema: Any, path: str, depth: int) -> Any:
        known = as_object(schema)
        if not known:
            return string({}, path, self._about)
        whole = resolved(known, self._root)
        if "const" in whole:
            return whole["const"]
        if "enum" in whole:
            return self._enum(as_list(whole["enum"]) or [None], path)
        branches = as_list(whole.get("anyOf")) or as_list(whole.get("oneOf"))
        if branches:
            return self._branch(whole, branches, path, depth)
        # A `$ref` costs a level, so that a schema that contains itself comes to an end.
        deeper = depth + 1 if "$ref" in known else depth
        return self._typed(whole, self._type(whole, path, deeper), path, deeper)

    def _enum(self, options: list[Any], path: str) -> Any:
        texts = [option for option in options if isinstance(option, str)]
        if texts and self._about.attempt == 0:
            return choose(texts, self._about.text, f"{self._about.seed}{path}")
        return options[self._about.pick(path, len(options))]

    def _branch(self, schema: JsonObject, branches: list[Any], path: str, depth: int) -> Any:
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
        options = [known for branch in branches if (known := as_object(branch)) is not None]
        nulls = [option for option in options if option.get("type") == "null"]
        others = [option for option in options if option.get("type") != "null"]
        if depth >= DEEPEST:
            plain = [option for option in others if "$ref" not in option]
            chosen = (nulls or plain or others)[0]
        else:
            chosen = (others or nulls)[self._about.pick(path + "?", len(others or nulls))]
        return self._value(merged(rest, chosen), path, depth)

    def _type(self, schema: JsonObject, path: str, depth: int) -> str:
        kind = schema.get("type")
        kinds = as_list(kind)
        if kinds:
            if depth >= DEEPEST and "null" in kinds:
                return "null"
            real = [option for option in kinds if option != "null"] or ["null"]
            return str(real[self._about.pick(path + ":", len(real))])
        if isinstance(kind, str):
            return kind
        if "properties" in schema or "additionalProperties" in schema:
            return "object"
        if "items" in schema or "prefixItems" in schema:
            return "array"
        if "minimum" in schema or "maximum" in schema or "multipleOf" in schema:
            return "number"
        return "string"

    def _typed(self, schema: JsonObject, kind: str, path: str, depth: int) -> Any:
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema, path, depth),
            "array": lambda: self._array(schema, path, depth),
            "string": lambda: string(schema, path, self._about),
            "integer": lambda: integer(schema, path, self._about),
            "number": lambda: number(schema, path, self._about),
            "boolean": lambda: self._about.pick(path, 2) == 1,
        }
        return makers[kind]() if kind in makers else None

    def _object(self, schema: JsonObject, path: str, depth: int) -> JsonObject:
        properties = as_object(schema.get("properties")) or {}
        required = as_list(schema.get("required")) or []
        wanted = [name for name in properties if name in required or depth < DEEPEST]
        made = {name: self._value(properties[name], f"{path}/{name}", depth) for name in wanted}
        additional = schema.get("additionalProperties", {})
        for name in required:
            if name not in made:
                made[name] = self._value(additional, f"{path}/{name}", depth)
        least = schema.get("minProperties", 0)
        most = schema.get("maxProperties", math.inf)
        keys = self._extra_keys()
        if not properties and as_object(additional) and depth < DEEPEST:
            least = max(least, min(2, most))
        for key in keys:
            if len(made) >= least:
                break
            made.setdefault(key, self._value(additional, f"{path}/{key}", depth))
        optional = [name for name in made if name not in required]
        while len(made) > most and optional:
            del made[optional.pop()]
        return made

    def _extra_keys(self) -> list[str]:
        said = [word for word in keywords(self._about.text, 10) if word.isidentifier()]
        return said + [f"key_{number}" for number in range(1, 100)]

    def _array(self, schema: JsonObject, path: str, depth: int) -> list[Any]:
        first = as_list(schema.get("prefixItems")) or []
        items = schema.get("items", {})
        least = schema.get("minItems", 0)
        usual = 0 if depth >= DEEPEST else 1 + self._about.pick(path + "#", 3)
        size = min(max(least, usual, len(first)), schema.get("maxItems", math.inf))
        if items is False:
            size = min(size, len(first))
        made = [
            self._value(first[index] if index < len(first) else items, f"{path}/{index}", depth)
            for index in range(int(size))
        ]
        if not schema.get("uniqueItems"):
            return made
        return self._unique(made, items, path, depth, least)

    def _unique(self, made: list[Any], items: Any, path: str, depth: int, least: int) -> list[Any]:
        unique = {json.dumps(item, sort_keys=True): item for item in made}
        for extra in range(200):
            if len(unique) >= least:
                break
            maker = Maker(
                self._root, About(self._about.text, f"{self._about.seed}+{extra}", extra + 1)
            )
            item = maker._value(items, f"{path}/{extra}", depth)
            unique.setdefault(json.dumps(item, sort_keys=True), item)
        return list(unique.values())
