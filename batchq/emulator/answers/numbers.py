"""Numbers of an instance: those that the prompt says, where they fit; else some within bounds."""

import math
import re

from batchq.emulator.answers.about import About
from batchq.emulator.shapes import JsonObject, is_integer

_number = re.compile(r"-?\d+(?:[.,]\d+)?")


def _bounds(schema: JsonObject, step: float) -> tuple[float, float]:
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


def _said(path: str, low: float, high: float, about: About) -> float | None:
    """The number the prompt gives, where it fits and the field is not a grade."""
    if about.attempt or re.search(r"score|confidence|probability|rating", path.lower()):
        return None
    for found in _number.findall(about.text):
        value = float(found.replace(",", "."))
        if low <= value <= high:
            return value
    return None


def integer(schema: JsonObject, path: str, about: About) -> int:
    low, high = _bounds(schema, 1)
    first, last = math.ceil(low), math.floor(high)
    step = schema.get("multipleOf")
    if step:
        lowest, highest = math.ceil(first / step), math.floor(last / step)
        return int((lowest + about.pick(path, max(1, highest - lowest + 1))) * step)
    said = _said(path, first, last, about)
    if said is not None and said == int(said):
        return int(said)
    return first + about.pick(path, max(1, last - first + 1))


def number(schema: JsonObject, path: str, about: About) -> float:
    bounded = any(
        key in schema for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    )
    grade = re.search(r"score|confidence|probability", path.lower())
    low, high = _bounds(schema, 1e-6) if bounded or not grade else (0.0, 1.0)
    step = schema.get("multipleOf")
    if step:
        return _multiple(step, low, high, path, about)
    said = _said(path, low, high, about)
    if said is not None:
        return said
    made = low + (high - low) * (about.pick(path, 99) + 1) / 100
    rounded = round(made, 2)
    return rounded if low <= rounded <= high else made


def _multiple(step: float, low: float, high: float, path: str, about: About) -> float:
    lowest, highest = math.ceil(low / step), math.floor(high / step)
    size = max(1, highest - lowest + 1)
    start = about.pick(path, size)
    for offset in range(min(size, 100)):
        made = round((lowest + (start + offset) % size) * step, 10)
        # 0.7 / 0.1 is not 7 in floating point, so not every multiple passes for one.
        if (made / step).is_integer():
            return int(made) if is_integer(step) else made
    return lowest * step
