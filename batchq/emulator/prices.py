"""What the emulator's ledger charges.

US dollars for one million tokens: input, cached input, output, as published for live calls in
November 2026 (genai-prices 0.2.3, which a test holds this table to; litellm 1.109.1 agrees).
A batch costs half, except for cached input that is named otherwise. A model that is not in the
table costs what `DEFAULT` costs, and the ledger says so.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from batchq.emulator.tokens import Usage


@dataclass(frozen=True)
class Price:
    """`batch_cached` None: half of `cached`. `long`: requests above 272,000 input tokens cost
    twice as much for all their input, and half as much again for their output.
    """

    input: float
    cached: float
    output: float
    batch_cached: float | None = None
    long: bool = False


BATCH_DISCOUNT = 0.5
LONG = 272_000

PRICES: dict[str, Price] = {
    "gpt-6-astra": Price(10, 1.00, 50, long=True),
    "gpt-6-sol": Price(2, 0.20, 10, long=True),
    "gpt-6.1-sol": Price(2, 0.10, 10, long=True),
    "gpt-6.1-terra": Price(1, 0.05, 5, long=True),
    "gpt-6-luna": Price(0.10, 0.01, 0.50, long=True),
    "gpt-5.6-sol": Price(4, 0.40, 20, long=True),
    "gpt-5.6-terra": Price(2, 0.20, 12, long=True),
    "gpt-5.6-luna": Price(0.20, 0.02, 1.20, long=True),
    "gpt-5.5": Price(5, 0.50, 30, long=True),
    "gpt-5.4": Price(2.5, 0.25, 15, batch_cached=0.13, long=True),
    "gpt-5.4-mini": Price(0.75, 0.075, 4.5),
    "gpt-5.4-nano": Price(0.20, 0.02, 1.25),
    "gpt-5": Price(1.25, 0.125, 10),
    "gpt-5-mini": Price(0.25, 0.025, 2),
    "gpt-5-nano": Price(0.05, 0.005, 0.40),
    # No batch price of their cached input is published, so it stays what it is live.
    "gpt-4.1": Price(2, 0.50, 8, batch_cached=0.50),
    "gpt-4.1-mini": Price(0.40, 0.10, 1.6, batch_cached=0.10),
    "gpt-4.1-nano": Price(0.10, 0.025, 0.40, batch_cached=0.025),
    "gpt-4o-mini": Price(0.15, 0.075, 0.60, batch_cached=0.075),
    "o4-mini": Price(1.10, 0.275, 4.40, batch_cached=0.275),
    "text-embedding-3-small": Price(0.02, 0.02, 0),
    "text-embedding-3-large": Price(0.13, 0.13, 0),
    "omni-moderation-latest": Price(0, 0, 0),
}
DEFAULT = Price(1, 0.10, 4)
SNAPSHOT_DATE = "2026-07-01"

_dated = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def price_of(model: str) -> Price:
    return PRICES.get(_dated.sub("", model), DEFAULT)


def is_priced(model: str) -> bool:
    return _dated.sub("", model) in PRICES


def snapshot(model: str) -> str:
    """The dated name OpenAI answers with when it is asked for an alias."""
    dated = _dated.search(model) is not None or model not in PRICES
    undated = model.startswith(("text-embedding", "omni-moderation"))
    return model if dated or undated else f"{model}-{SNAPSHOT_DATE}"


def nanodollars(model: str, usage: Usage, *, batch: bool) -> int:
    """What one request costs: whole, so that a ledger of 50,000 of them adds up."""
    full, cached, output = rates(model, batch=batch, long=usage.input_tokens > LONG)
    picodollars = (
        (usage.input_tokens - usage.cached_tokens) * full
        + usage.cached_tokens * cached
        + usage.output_tokens * output
    )
    return (picodollars + 500) // 1000


@lru_cache(maxsize=1024)
def rates(model: str, *, batch: bool, long: bool) -> tuple[int, int, int]:
    """Picodollars for a token of input, of cached input and of output."""
    price = price_of(model)
    longer = long and price.long
    discount = BATCH_DISCOUNT if batch else 1
    of_input, of_output = (2 * discount, 1.5 * discount) if longer else (discount, discount)
    cached = price.cached * of_input
    if batch and not longer and price.batch_cached is not None:
        cached = price.batch_cached
    return (
        round(price.input * of_input * 1_000_000),
        round(cached * 1_000_000),
        round(price.output * of_output * 1_000_000),
    )
