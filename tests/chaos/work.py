"""What the producer sends, and what must come back: both follow from the seed alone."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from batchq.emulator.answers import answer

MODEL = "gpt-5.6-luna"
ENDPOINT = "/v1/chat/completions"
#: In the text of every prompt; no log may hold it.
CANARY = "canary"
#: Lines with this text are refused by the emulator, each by itself.
REFUSED = "unanswerable"
CHORD = 50

Kind = Literal["once", "twice", "flaky", "refused", "collect", "conclude"]


@dataclass(frozen=True, slots=True)
class Item:
    """One logical task. ``lines`` is how often it should be billed."""

    number: int
    kind: Kind
    linked: bool = False

    @property
    def lines(self) -> int:
        return {"twice": 2, "collect": 0}.get(self.kind, 1)


@dataclass(frozen=True, slots=True)
class Unit:
    """What one send brings: a single task, or a chord whose last item is its body."""

    items: tuple[Item, ...]

    @property
    def is_chord(self) -> bool:
        return len(self.items) > 1


def units(tasks: int, seed: int) -> Iterator[Unit]:
    """The work of a run, ``tasks`` logical tasks in all."""
    chance = random.Random(f"work {seed}")
    number = 0
    while number < tasks:
        size = min(CHORD, max(5, tasks // 10)) + 1
        if chance.random() < 0.01 * (CHORD / size) and tasks - number >= size:
            yield _chord(range(number, number + size), chance)
            number += size
        else:
            yield Unit((_single(number, chance),))
            number += 1


def _single(number: int, chance: random.Random) -> Item:
    kinds: list[Kind] = ["once", "twice", "flaky", "refused"]
    (kind,) = chance.choices(kinds, (55, 30, 11, 4))
    return Item(number, kind, linked=kind != "refused" and chance.random() < 0.3)


def _chord(numbers: range, chance: random.Random) -> Unit:
    members = [
        Item(number, "twice" if chance.random() < 0.1 else "once") for number in numbers[:-1]
    ]
    body: Kind = "collect" if chance.random() < 0.5 else "conclude"
    return Unit((*members, Item(numbers[-1], body)))


def task_id(seed: int, number: int | str) -> str:
    """The same for each send of the same task."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"chaos {seed} {number}"))


# Questions and answers


def question(seed: int, number: int, more: str = "") -> str:
    words = f"{CANARY}{seed}x{number} is the name of this question {more}"
    return f"{REFUSED} {words}" if more == REFUSED else words


def digest(*texts: str) -> str:
    """What a task returns: a result stands in Celery's log, and a text must not."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:20]


def body(text: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}]}


@cache
def _answer(text: str) -> str:
    said = answer(ENDPOINT, body(text), created=0)
    content: str = said["choices"][0]["message"]["content"]
    return content


def expected(seed: int, unit: Unit) -> dict[int, str | None]:
    """What each task of a unit returns; None where it fails with the provider's error."""
    results: dict[int, str | None] = {}
    for item in unit.items:
        first = question(seed, item.number)
        match item.kind:
            case "once" | "flaky":
                results[item.number] = digest(_answer(first))
            case "twice":
                second = question(seed, item.number, digest(_answer(first)))
                results[item.number] = digest(_answer(first), _answer(second))
            case "refused":
                results[item.number] = None
            case "collect":
                results[item.number] = digest(*_texts(results))
            case "conclude":
                asked = question(seed, item.number, digest(*_texts(results)))
                results[item.number] = digest(_answer(asked))
    return results


def _texts(results: dict[int, str | None]) -> list[str]:
    return [result for result in results.values() if result is not None]
