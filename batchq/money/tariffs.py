"""What tokens cost, as whole numbers: a request is multiplied out, and rounded once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchq.money.usage import Usage

__all__ = ["ALL", "Rates", "Tariff", "Tier", "scaled"]

_PLACES = 18
"""Digits behind the point that a price in dollars for a million tokens may have: as many as the
longest of genai-prices has. A rate is such a price as a whole number."""
_NANODOLLAR = 10**15
"""So many of a rate's unit are one: 18 places, a million tokens, less the 9 places of a nano."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one token costs."""

    input: int
    cached: int
    written: int
    output: int

    def of(self, usage: Usage) -> int:
        """Nano-dollars, rounded once."""
        read, written = usage.cached_tokens, usage.written_tokens
        total = (
            (usage.input_tokens - read - written) * self.input
            + read * self.cached
            + written * self.written
            + usage.output_tokens * self.output
        )
        return (total + _NANODOLLAR // 2) // _NANODOLLAR

    @property
    def halved(self) -> Rates:
        return Rates(
            input=self.input // 2,
            cached=self.cached // 2,
            written=self.written // 2,
            output=self.output // 2,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """The rates of a request with more than `above` input tokens."""

    above: int
    batch: Rates
    live: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What a model costs. The longest requests come first in `tiers`; the last takes all."""

    tiers: tuple[Tier, ...]
    estimated: bool

    @property
    def free(self) -> bool:
        nothing = Rates(input=0, cached=0, written=0, output=0)
        return all(tier.batch == nothing == tier.live for tier in self.tiers)


ALL = -1
"""`Tier.above` of the tier that takes every request."""


def scaled(price: Decimal) -> int:
    """A rate of a price in dollars for a million tokens."""
    return int(price.scaleb(_PLACES))
