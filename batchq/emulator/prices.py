"""What the emulator's ledger charges.

US dollars for one million tokens: input, cached input, output, as published for live calls in
November 2026 (litellm 1.109.1, cross-checked with genai-prices 0.2.3). A batch costs half.
A model that is not in the table costs what `DEFAULT` costs, and the ledger says so.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Price:
    input: float
    cached: float
    output: float


BATCH_DISCOUNT = 0.5

PRICES: dict[str, Price] = {
    "gpt-6-astra": Price(10, 1.00, 50),
    "gpt-6-sol": Price(2, 0.20, 10),
    "gpt-6.1-sol": Price(2, 0.10, 10),
    "gpt-6.1-terra": Price(1, 0.05, 5),
    "gpt-6-luna": Price(0.10, 0.01, 0.50),
    "gpt-5.6-sol": Price(4, 0.40, 20),
    "gpt-5.6-terra": Price(2, 0.20, 12),
    "gpt-5.6-luna": Price(0.20, 0.02, 1.20),
    "gpt-5.5": Price(5, 0.50, 30),
    "gpt-5.4": Price(2.5, 0.25, 15),
    "gpt-5.4-mini": Price(0.75, 0.075, 4.5),
    "gpt-5.4-nano": Price(0.20, 0.02, 1.25),
    "gpt-5": Price(1.25, 0.125, 10),
    "gpt-5-mini": Price(0.25, 0.025, 2),
    "gpt-5-nano": Price(0.05, 0.005, 0.40),
    "gpt-4.1": Price(2, 0.50, 8),
    "gpt-4.1-mini": Price(0.40, 0.10, 1.6),
    "gpt-4.1-nano": Price(0.10, 0.025, 0.40),
    "gpt-4o-mini": Price(0.15, 0.075, 0.60),
    "o4-mini": Price(1.10, 0.275, 4.40),
    "text-embedding-3-small": Price(0.02, 0.02, 0),
    "text-embedding-3-large": Price(0.13, 0.13, 0),
    "omni-moderation-latest": Price(0, 0, 0),
}
DEFAULT = Price(1, 0.10, 4)
SNAPSHOT_DATE = "2026-07-01"

_dated = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def price_of(model: str) -> Price:
    return PRICES.get(_dated.sub("", model), DEFAULT)


def snapshot(model: str) -> str:
    """The dated name OpenAI answers with when it is asked for an alias."""
    dated = _dated.search(model) is not None or model not in PRICES
    undated = model.startswith(("text-embedding", "omni-moderation"))
    return model if dated or undated else f"{model}-{SNAPSHOT_DATE}"


def cost(
    model: str, *, input_tokens: int, cached_tokens: int, output_tokens: int, batch: bool
) -> float:
    price = price_of(model)
    full = (
        (input_tokens - cached_tokens) * price.input
        + cached_tokens * price.cached
        + output_tokens * price.output
    ) / 1_000_000
    return full * BATCH_DISCOUNT if batch else full
