"""What prompts cost: the usage of their answers, at the prices of their model and account.

Money is in whole nano-dollars, so that sums are exact in whatever order they are made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from batchq.common.words import dollars
from batchq.money.tables import PriceTable, table_of
from batchq.money.usage import Usage, mapping, parsed, tokens, usage_of
from batchq.prompt import estimate_tokens

__all__ = [
    "Billed",
    "Cost",
    "Planned",
    "PriceTable",
    "Usage",
    "cost_of",
    "estimated_cost",
    "planned",
    "table_of",
    "usage_of",
]


class Billed(Protocol):
    """What has a bill: a batch that was read, or sums of several. ``estimated`` counts answers."""

    @property
    def cost(self) -> int: ...
    @property
    def live_cost(self) -> int: ...
    @property
    def estimated(self) -> int: ...
    @property
    def unpriced(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Nano-dollars: what the batch costs, and what the same calls would have cost live.

    `estimated` where a price had to be guessed. `unpriced` counts answers of which no price is
    known; they are in neither sum, so a cost that has some is not the whole cost.
    """

    batch: int = 0
    live: int = 0
    estimated: bool = False
    unpriced: int = 0

    @classmethod
    def of(cls, billed: Billed) -> Cost:
        """What stands on a bill."""
        return cls(
            batch=billed.cost,
            live=billed.live_cost,
            estimated=billed.estimated > 0,
            unpriced=billed.unpriced,
        )

    @property
    def saved(self) -> int:
        return self.live - self.batch

    @property
    def shown(self) -> str:
        """What the batch costs, for people: ``$0.42``, ``~$0.42``, ``unknown``."""
        return self._said(self.batch)

    @property
    def shown_live(self) -> str:
        return self._said(self.live)

    @property
    def shown_saved(self) -> str:
        return self._said(self.saved)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            batch=self.batch + other.batch,
            live=self.live + other.live,
            estimated=self.estimated or other.estimated,
            unpriced=self.unpriced + other.unpriced,
        )

    def _said(self, nanodollars: int) -> str:
        if self.unpriced and not self.batch and not self.live:
            return "unknown"
        said = f"~{dollars(nanodollars)}" if self.estimated else dollars(nanodollars)
        return f"{said} ({self.unpriced:,} unpriced)" if self.unpriced else said


def cost_of(model: str, usage: Usage | None, table: PriceTable, *, calls: int = 1) -> Cost:
    """What one answer of `model` cost. An answer without usage costs nothing where its model is
    free, as moderation is, and is unpriced elsewhere.

    Of several `calls` the usage is the sum. Where longer ones cost more they are taken for equally
    long, which is an estimate.
    """
    tariff = table.tariff(model)
    if tariff is None or (usage is None and not tariff.free):
        return Cost(estimated=True, unpriced=calls)
    if usage is None:
        return Cost()
    tier = next(one for one in tariff.tiers if usage.input_tokens > one.above * calls)
    guessed = tariff.estimated or (calls > 1 and len(tariff.tiers) > 1)
    return Cost(batch=tier.batch.of(usage), live=tier.live.of(usage), estimated=guessed)


# What would it cost?

EXPECTED_OUTPUT = 250
"""Output tokens of an answer where nobody says how many to expect."""
_WITHOUT_OUTPUT = ("/v1/embeddings", "/v1/moderations")
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A request that was not sent yet. `output_tokens` None: nobody knows."""

    model: str
    endpoint: str
    input_tokens: int
    output_tokens: int | None = None


def planned(endpoint: str, body: bytes, *, output_tokens: int | None = None) -> Planned:
    """A request by its body; its own limit, where it has one, caps the output to expect."""
    request = mapping(parsed(body))
    expected = EXPECTED_OUTPUT if output_tokens is None else output_tokens
    if endpoint in _WITHOUT_OUTPUT:
        expected = 0
    limit = tokens(request, *_LIMITS)
    return Planned(
        model=str(request.get("model", "")),
        endpoint=endpoint,
        input_tokens=estimate_tokens(body),
        output_tokens=expected if limit is None else min(expected, limit),
    )


def estimated_cost(lines: Iterable[Planned], table: PriceTable) -> Cost:
    """What requests would cost, in a batch and live; always an estimate."""
    costs = (cost_of(line.model, _expected(line), table) for line in lines)
    return sum(costs, Cost(estimated=True))


def _expected(line: Planned) -> Usage:
    output = EXPECTED_OUTPUT if line.output_tokens is None else line.output_tokens
    return Usage(
        input_tokens=line.input_tokens,
        output_tokens=0 if line.endpoint in _WITHOUT_OUTPUT else output,
    )
