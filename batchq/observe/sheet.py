"""A sheet of values by name and labels, and which labels are written on it: they have an end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from batchq.journal import TURNAROUNDS
from batchq.observe.catalogue import LANE
from batchq.prompt import Lane

__all__ = ["OTHER", "Sheet", "Shown"]

OTHER = "other"


class _Slots:
    """Names that are shown as they are; there is an end to how many. Who has a place keeps it, for
    a counter that moves from one name to another looks as if it had begun anew.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: set[object] = set()

    def has(self, name: object) -> bool:
        if name not in self._taken and len(self._taken) < self._most:
            self._taken.add(name)
        return name in self._taken

    def keep(self, names: Iterable[object]) -> None:
        self._taken &= set(names)


class Shown:
    """Which lanes and codes have labels of their own; what is too many is ``other``."""

    def __init__(self, *, lanes: int = 200, codes: int = 50) -> None:
        self._lanes = _Slots(lanes)
        self._most_codes = codes
        self._codes: dict[tuple[str, ...], _Slots] = {}

    def keep(self, lanes: Iterable[Lane]) -> None:
        """Let go of the lanes that are no more, for others to come."""
        self._lanes.keep(lanes)

    def has(self, lane: Lane) -> bool:
        return self._lanes.has(lane)

    def lane(self, lane: Lane) -> tuple[str, ...]:
        if self.has(lane):
            return (lane.account, lane.endpoint, lane.model, lane.label)
        return (OTHER,) * len(LANE)

    def code(self, lane: tuple[str, ...], code: str) -> str:
        slots = self._codes.setdefault(lane, _Slots(self._most_codes))
        return code if slots.has(code) else OTHER


@dataclass(frozen=True, slots=True)
class Sheet:
    """Values by name and labels; of a histogram each is a list of counts and then the sum."""

    values: dict[str, dict[tuple[str, ...], float]] = field(
        default_factory=dict[str, dict[tuple[str, ...], float]]
    )
    histograms: dict[str, dict[tuple[str, ...], list[float]]] = field(
        default_factory=dict[str, dict[tuple[str, ...], list[float]]]
    )

    def add(self, name: str, value: float, *labels: str) -> None:
        """Several values with the same labels add up."""
        found = self.values.setdefault(name, {})
        found[labels] = found.get(labels, 0.0) + value

    def most(self, name: str, value: float, *labels: str) -> None:
        """Of several values with the same labels the highest counts."""
        found = self.values.setdefault(name, {})
        found[labels] = max(found.get(labels, 0.0), value)

    def observed(self, name: str, index: int, count: int, total: float, *labels: str) -> None:
        """So many in the class with that index, ``total`` in all."""
        found = self.histograms.setdefault(name, {})
        row = found.setdefault(labels, [0] * (len(TURNAROUNDS) + 2))
        row[index] += count
        row[-1] += total
