"""Makes an instance of a JSON Schema that speaks of the prompt, and validates it."""

import json
import math
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from batchq.emulator.answers.pattern import Unsupported, matching
from batchq.emulator.answers.text import (
    choose,
    enumerate_words,
    first_sentence,
    keywords,
    number_from,
    subject,
    words,
)
from batchq.emulator.problems import Refusal
from batchq.emulator.shapes import JsonObject, as_list, as_object, is_integer

DEEPEST = 6  # how deep a recursive schema is followed before it is closed
ATTEMPTS = 12

_number = re.compile(r"-?\d+(?:[.,]\d+)?")
_email = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_url = re.compile(r"https?://\S+")
_date = re.compile(r"\d{4}-\d{2}-\d{2}")
_capitalised = re.compile(r"\b[A-Z][a-z]+(?: [A-Z][a-z]+)+\b|(?<=[a-z,;] )[A-Z][a-z]+\b")


@dataclass(frozen=True)
class Prepared:
    """A schema ready for use: read once, for all the lines that carry it."""

    schema: JsonObject
    validator: Any  # the library's validators have no common public type

    def valid(self, instance: Any) -> bool:
        return bool(self.validator.is_valid(instance))


@lru_cache(maxsize=256)
def _prepared(text: str) -> Prepared:
    schema = json.loads(text)
    Draft202012Validator.check_schema(schema)
    return Prepared(
        schema, Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    )


def instance(schema: JsonObject, *, text: str, seed: str) -> Any:
    """An instance that validates. A schema nothing can be made for is refused, in words."""
    try:
        prepared = _prepared(json.dumps(schema))
    except SchemaError as error:
        raise Refusal(400, f"Invalid schema: {error.message}") from None
    about = subject(text)
    for attempt in range(ATTEMPTS):
        made = Maker(prepared, about, f"{seed}/{attempt}" if attempt else seed, attempt).make()
        if prepared.valid(made):
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

    def __init__(self, prepared: Prepared, text: str, seed: str, attempt: int) -> None:
        self._prepared = prepared
        self._root = prepared.schema
        self._text = text
        self._seed = seed
        self._attempt = attempt

    def make(self) -> Any:
        return self._value(self._root, "", 0)

    def _pick(self, path: str, limit: int) -> int:
        return number_from(f"{self._seed}{path}", limit)

    def _value(self, schema: Any, path: str, depth: int) -> Any:
        known = as_object(schema)
        if not known:
            return self._string({}, path)
        resolved = self._resolve(known)
        if "const" in resolved:
            return resolved["const"]
        if "enum" in resolved:
            return self._enum(as_list(resolved["enum"]) or [None], path)
        branches = as_list(resolved.get("anyOf")) or as_list(resolved.get("oneOf"))
        if branches:
            return self._branch(resolved, branches, path, depth)
        # A `$ref` costs a level, so that a schema that contains itself comes to an end.
        deeper = depth + 1 if "$ref" in known else depth
        return self._typed(resolved, self._type(resolved, path, deeper), path, deeper)

    def _resolve(self, schema: JsonObject) -> JsonObject:
        """The schema with its `$ref` and `allOf` folded in."""
        for _ in range(50):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                break
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**self._pointed(reference), **rest}
        for part in as_list(schema.get("allOf")) or []:
            known = as_object(part)
            if known is not None:
                schema = _merged(schema, self._resolve(known))
        return schema

    def _pointed(self, reference: str) -> JsonObject:
        target: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            items = as_list(target)
            target = items[int(name)] if items is not None else (as_object(target) or {}).get(name)
        return as_object(target) or {}

    def _enum(self, options: list[Any], path: str) -> Any:
        texts = [option for option in options if isinstance(option, str)]
        if texts and self._attempt == 0:
            return choose(texts, self._text, f"{self._seed}{path}")
        return options[self._pick(path, len(options))]

    def _branch(self, schema: JsonObject, branches: list[Any], path: str, depth: int) -> Any:
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
        options = [known for branch in branches if (known := as_object(branch)) is not None]
        nulls = [option for option in options if option.get("type") == "null"]
        others = [option for option in options if option.get("type") != "null"]
        if depth >= DEEPEST:
            plain = [option for option in others if "$ref" not in option]
            chosen = (nulls or plain or others)[0]
        else:
            chosen = (others or nulls)[self._pick(path + "?", len(others or nulls))]
        return self._value(_merged(rest, chosen), path, depth)

    def _type(self, schema: JsonObject, path: str, depth: int) -> str:
        kind = schema.get("type")
        kinds = as_list(kind)
        if kinds:
            if depth >= DEEPEST and "null" in kinds:
                return "null"
            real = [option for option in kinds if option != "null"] or ["null"]
            return str(real[self._pick(path + ":", len(real))])
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
            "string": lambda: self._string(schema, path),
            "integer": lambda: self._integer(schema, path),
            "number": lambda: self._float(schema, path),
            "boolean": lambda: self._pick(path, 2) == 1,
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
        said = [word for word in keywords(self._text, 10) if word.isidentifier()]
        return said + [f"key_{number}" for number in range(1, 100)]

    def _array(self, schema: JsonObject, path: str, depth: int) -> list[Any]:
        first = as_list(schema.get("prefixItems")) or []
        items = schema.get("items", {})
        least = schema.get("minItems", 0)
        usual = 0 if depth >= DEEPEST else 1 + self._pick(path + "#", 3)
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
            maker = Maker(self._prepared, self._text, f"{self._seed}+{extra}", extra + 1)
            item = maker._value(items, f"{path}/{extra}", depth)
            unique.setdefault(json.dumps(item, sort_keys=True), item)
        return list(unique.values())

    # Strings

    def _string(self, schema: JsonObject, path: str) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        pattern, form = schema.get("pattern"), schema.get("format")
        if isinstance(pattern, str):
            return self._matching(pattern, path)
        if isinstance(form, str) and form in _formats:
            return _formats[form](self._text, f"{self._seed}{path}")
        made = self._words(path)
        while len(made) < least:
            made = f"{made} {made or 'word'}".strip()
        if most is None or len(made) <= most:
            return made
        cut = made[:most]
        return cut.rstrip() if len(cut.rstrip()) >= least else cut

    def _matching(self, pattern: str, path: str) -> str:
        """The prompt's own words where they match; else something made up."""
        expression = re.compile(pattern)
        candidates = [*(word for word in self._text.split()), self._words(path)]
        for candidate in candidates:
            if expression.search(candidate):
                return candidate
        try:
            return matching(pattern)
        except Unsupported:
            return ""

    def _words(self, path: str) -> str:
        """What a field of this name would say about the prompt."""
        steps = [step for step in path.split("/") if step]
        names = [step for step in steps if not step.isdecimal()]
        name = names[-1].lower() if names else ""
        for said, speak in _vocabulary:
            if any(part in name for part in said):
                return speak(self._text)
        important = keywords(self._text, 8) or ["nothing"]
        if steps and steps[-1].isdecimal():
            return important[int(steps[-1]) % len(important)]
        return first_sentence(self._text) or "nothing"

    # Numbers

    def _bounds(self, schema: JsonObject, step: float) -> tuple[float, float]:
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if above is not None:
            low = max(low, above + step)
        if below is not None:
            high = min(high, below - step)
        if low == -math.inf:
            low = 0 if high >= 0 else high - 100
        if high == math.inf:
            high = low + 100
        return low, high

    def _said(self, path: str, low: float, high: float) -> float | None:
        """The number the prompt gives, where it fits and the field is not a grade."""
        if self._attempt or re.search(r"score|confidence|probability|rating", path.lower()):
            return None
        for found in _number.findall(self._text):
            value = float(found.replace(",", "."))
            if low <= value <= high:
                return value
        return None

    def _integer(self, schema: JsonObject, path: str) -> int:
        low, high = self._bounds(schema, 1)
        first, last = math.ceil(low), math.floor(high)
        step = schema.get("multipleOf")
        if step:
            lowest, highest = math.ceil(first / step), math.floor(last / step)
            return int((lowest + self._pick(path, max(1, highest - lowest + 1))) * step)
        said = self._said(path, first, last)
        if said is not None and said == int(said):
            return int(said)
        return first + self._pick(path, max(1, last - first + 1))

    def _float(self, schema: JsonObject, path: str) -> float:
        bounded = any(
            key in schema for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        )
        grade = re.search(r"score|confidence|probability", path.lower())
        low, high = self._bounds(schema, 1e-6) if bounded or not grade else (0.0, 1.0)
        step = schema.get("multipleOf")
        if step:
            return self._multiple(step, low, high, path)
        said = self._said(path, low, high)
        if said is not None:
            return said
        made = low + (high - low) * (self._pick(path, 99) + 1) / 100
        rounded = round(made, 2)
        return rounded if low <= rounded <= high else made

    def _multiple(self, step: float, low: float, high: float, path: str) -> float:
        lowest, highest = math.ceil(low / step), math.floor(high / step)
        size = max(1, highest - lowest + 1)
        start = self._pick(path, size)
        for offset in range(min(size, 100)):
            made = round((lowest + (start + offset) % size) * step, 10)
            # 0.7 / 0.1 is not 7 in floating point, so not every multiple passes for one.
            if (made / step).is_integer():
                return int(made) if is_integer(step) else made
        return lowest * step


def _first(expression: re.Pattern[str], text: str, otherwise: str) -> str:
    found = expression.search(text)
    return found.group() if found else otherwise


def _merged(one: JsonObject, other: JsonObject) -> JsonObject:
    """Both schemas at once, as `allOf` means it, for the keywords that add up."""
    merged = {**one, **other}
    merged.pop("allOf", None)
    for name in ("properties", "$defs"):
        if name in one and name in other:
            merged[name] = {**one[name], **other[name]}
    if "required" in one and "required" in other:
        merged["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    for name in ("minimum", "minLength", "minItems", "exclusiveMinimum"):
        if name in one and name in other:
            merged[name] = max(one[name], other[name])
    for name in ("maximum", "maxLength", "maxItems", "exclusiveMaximum"):
        if name in one and name in other:
            merged[name] = min(one[name], other[name])
    return merged


def _person(text: str) -> str:
    return _first(_capitalised, text, " ".join(words(text)[:2]) or "unknown")


def _topic(text: str) -> str:
    return (keywords(text, 1) or ["nothing"])[0]


# What a string field says, by a part of its name: the first that fits.
_vocabulary: tuple[tuple[tuple[str, ...], Callable[[str], str]], ...] = (
    (("mail",), lambda text: _first(_email, text, "someone@example.com")),
    (("url", "link", "website"), lambda text: _first(_url, text, "https://example.com/")),
    (("date",), lambda text: _first(_date, text, "2026-11-22")),
    (("language",), lambda _: "English"),
    (("sentiment",), lambda text: choose(["positive", "negative", "neutral"], text, text)),
    (("person", "author", "customer", "name"), _person),
    (
        ("title", "subject", "headline"),
        lambda text: " ".join(word.capitalize() for word in keywords(text, 4)) or "Untitled",
    ),
    (("category", "label", "topic"), _topic),
    (
        ("reason", "explanation", "rationale"),
        lambda text: f"The text speaks of {enumerate_words(keywords(text, 3))}.",
    ),
)


def _uuid(_: str, seed: str) -> str:
    return str(uuid.UUID(bytes=sha256(seed.encode()).digest()[:16], version=4))


_formats: dict[str, Callable[[str, str], str]] = {
    "date-time": lambda text, _: f"{_first(_date, text, '2026-11-22')}T09:30:00Z",
    "date": lambda text, _: _first(_date, text, "2026-11-22"),
    "time": lambda _, __: "09:30:00Z",
    "duration": lambda _, __: "P1D",
    "email": lambda text, _: _first(_email, text, "someone@example.com"),
    "idn-email": lambda text, _: _first(_email, text, "someone@example.com"),
    "hostname": lambda _, __: "example.com",
    "ipv4": lambda _, __: "192.0.2.1",
    "ipv6": lambda _, __: "2001:db8::1",
    "uri": lambda text, _: _first(_url, text, "https://example.com/"),
    "uri-reference": lambda _, __: "/example",
    "uuid": _uuid,
    "regex": lambda _, __: "^.*$",
    "json-pointer": lambda _, __: "/example",
}
