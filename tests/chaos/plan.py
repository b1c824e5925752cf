"""What is killed, and when: drawn from the seed before anything starts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Target = Literal["worker", "child", "beat", "valkey", "emulator", "producer"]
How = Literal["kill", "pause"]

_WEIGHTS: dict[tuple[Target, How], int] = {
    ("worker", "kill"): 6,
    ("child", "kill"): 4,
    ("worker", "pause"): 4,
    ("beat", "kill"): 2,
    ("beat", "pause"): 1,
    ("valkey", "kill"): 4,
    ("valkey", "pause"): 1,
    ("emulator", "kill"): 2,
    ("emulator", "pause"): 1,
    ("producer", "kill"): 3,
    ("producer", "pause"): 1,
}
_END = 0.93
"""The part of the progress after which everything is left alone."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``at`` counts progress: runs begun and tasks ended. ``which`` tells several of a kind apart.

    A killed process is back after ``seconds``, a paused one goes on after them.
    """

    at: int
    target: Target
    how: How
    which: int
    seconds: float

    def __str__(self) -> str:
        which = f" {self.which}" if self.target in {"worker", "beat"} else ""
        return f"{self.how} {self.target}{which} at {self.at}, {self.seconds:.1f} s"


def plan(
    *, seed: int, kills: int, progress: int, workers: int, beats: int, lease: float
) -> list[Decision]:
    """The decisions of one run, which makes ``progress`` in all. The same seed, the same plan."""
    chance = random.Random(f"plan {seed}")
    moments = sorted(chance.randrange(int(progress * _END)) for _ in range(kills))
    decided: list[Decision] = []
    for target, how in _kinds(chance, kills):
        at = moments[len(decided)]
        which = chance.randrange({"worker": workers, "beat": beats}.get(target, 1_000))
        seconds = chance.uniform(0.1, 1.5) if how == "kill" else lease * chance.uniform(1.2, 1.7)
        decided.append(Decision(at, target, how, which, round(seconds, 1)))
    return decided


def _kinds(chance: random.Random, count: int) -> list[tuple[Target, How]]:
    """Each kind once, the more likely ones first, as far as ``count`` goes; the rest by chance."""
    kinds = list(_WEIGHTS)
    first = sorted(kinds, key=lambda kind: -_WEIGHTS[kind])[:count]
    rest = chance.choices(kinds, list(_WEIGHTS.values()), k=count - len(first))
    chosen = [*first, *rest]
    chance.shuffle(chosen)
    return chosen
