"""Strings of an instance: what a field of that name, pattern or format would say of the prompt."""

import re
import uuid
from collections.abc import Callable
from hashlib import sha256

from batchq.emulator.answers.about import About
from batchq.emulator.answers.pattern import Unsupported, matching
from batchq.emulator.answers.text import choose, enumerate_words, first_sentence, keywords, words
from batchq.emulator.shapes import JsonObject

_email = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_url = re.compile(r"https?://\S+")
_date = re.compile(r"\d{4}-\d{2}-\d{2}")
_capitalised = re.compile(r"\b[A-Z][a-z]+(?: [A-Z][a-z]+)+\b|(?<=[a-z,;] )[A-Z][a-z]+\b")


def string(schema: JsonObject, path: str, about: About) -> str:
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    pattern, form = schema.get("pattern"), schema.get("format")
    if isinstance(pattern, str):
        return _matching(pattern, path, about)
    if isinstance(form, str) and form in _formats:
        return _formats[form](about.text, f"{about.seed}{path}")
    made = _words(path, about.text)
    while len(made) < least:
        made = f"{made} {made or 'word'}".strip()
    if most is None or len(made) <= most:
        return made
    cut = made[:most]
    return cut.rstrip() if len(cut.rstrip()) >= least else cut


def _matching(pattern: str, path: str, about: About) -> str:
    """The prompt's own words where they match; else something made up."""
    expression = re.compile(pattern)
    candidates = [*(word for word in about.text.split()), _words(path, about.text)]
    for candidate in candidates:
        if expression.search(candidate):
            return candidate
    try:
        return matching(pattern)
    except Unsupported:
        return ""


def _words(path: str, text: str) -> str:
    """What a field of this name would say about the prompt."""
    steps = [step for step in path.split("/") if step]
    names = [step for step in steps if not step.isdecimal()]
    name = names[-1].lower() if names else ""
    for said, speak in _vocabulary:
        if any(part in name for part in said):
            return speak(text)
    important = keywords(text, 8) or ["nothing"]
    if steps and steps[-1].isdecimal():
        return important[int(steps[-1]) % len(important)]
    return first_sentence(text) or "nothing"


def _first(expression: re.Pattern[str], text: str, otherwise: str) -> str:
    found = expression.search(text)
    return found.group() if found else otherwise


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
