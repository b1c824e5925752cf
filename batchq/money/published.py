"""Published prices, from genai-prices: whose prices hold at a URL, and what a model costs there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from batchq.money.tariffs import ALL, Rates, Tariff, Tier, scaled

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, PriceCalculation

__all__ = ["provider_at", "published_tariff"]


def provider_at(url: str) -> str | None:
    """The name in genai-prices of the provider at a URL; None where it knows none."""
    from genai_prices.data_snapshot import get_snapshot

    for provider in get_snapshot().providers:
        found = re.match(provider.api_pattern, url)
        # The patterns are open at their end: api.openai.com.example.org is not OpenAI.
        if found and (url[: found.end()].endswith("/") or url[found.end() :][:1] in ("", "/", ":")):
            return provider.id
    return None


_BATCH = {"processing": "batch"}


def published_tariff(model: str, provider: str, *, at: datetime, estimated: bool) -> Tariff | None:
    """What a model costs at a provider of genai-prices; None where it is not known, or charged by
    something else than tokens. ``estimated`` where its prices may differ from the account's.
    """
    try:
        live = _calculated(model, provider, at)
        batch = _calculated(model, provider, at, _BATCH)
    except (LookupError, ValueError):
        return None
    if not _by_tokens(live.model_price):
        return None
    halved = not _has_batch_price(live, at)
    tiers = [
        _tier(above, live.model_price, None if halved else batch.model_price)
        for above in sorted({ALL, *_starts(live), *_starts(batch)}, reverse=True)
    ]
    guessed = halved or estimated or _counts_more(live.model_price)
    free = all(tier.live.input == 0 == tier.live.output for tier in tiers)
    return Tariff(tiers=tuple(tiers), estimated=guessed and not free)


def _calculated(
    model: str, provider: str, at: datetime, context: Mapping[str, str] | None = None
) -> PriceCalculation:
    from genai_prices import Usage as Nothing
    from genai_prices import calc_price

    return calc_price(
        Nothing(), model, provider_id=provider, genai_request_timestamp=at, price_context=context
    )


def _has_batch_price(live: PriceCalculation, at: datetime) -> bool:
    # Asked for the batch price of a model that has none, genai-prices gives the standard one and
    # does not say so; likewise for a model that it borrows from another provider.
    if not any(live.model is own for own in live.provider.models):
        return False
    return any(
        variant.when == _BATCH and (variant.constraint is None or variant.constraint.active(at))
        for variant in live.model.price_variants or ()
    )


def _starts(calculated: PriceCalculation) -> set[int]:
    """The numbers of input tokens above which another price begins."""
    from genai_prices.types import TieredPrices

    found = (getattr(calculated.model_price, name) for name in _TOKENS)
    tiered = (price for price in found if isinstance(price, TieredPrices))
    return {tier.start for price in tiered for tier in price.tiers}


def _tier(above: int, live: ModelPrice, batch: ModelPrice | None) -> Tier:
    rates = _rates(live, above)
    return Tier(
        above=above, live=rates, batch=rates.halved if batch is None else _rates(batch, above)
    )


def _rates(prices: ModelPrice, above: int) -> Rates:
    """Tokens of the cache that have no price of their own cost what the others cost."""
    full = _rate(prices.input_mtok, above) or 0
    read, written = (
        _rate(price, above) for price in (prices.cache_read_mtok, prices.cache_write_mtok)
    )
    return Rates(
        input=full,
        cached=full if read is None else read,
        written=full if written is None else written,
        output=_rate(prices.output_mtok, above) or 0,
    )


def _rate(price: object, above: int) -> int | None:
    from genai_prices.types import TieredPrices

    if isinstance(price, TieredPrices):
        reached = [tier.price for tier in price.tiers if tier.start <= above]
        price = reached[-1] if reached else price.base
    return scaled(price) if isinstance(price, Decimal) else None


_TOKENS = {"input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok"}
_TOOLS = {"web_searches_kcount", "storage_searches_kcount"}
"""Charged beside the tokens where a model uses them; an answer's usage does not say how often."""


def _named(prices: ModelPrice) -> set[str]:
    return {name for name, price in vars(prices).items() if price is not None} - _TOOLS


def _by_tokens(prices: ModelPrice) -> bool:
    """False where a model is charged by the hour, the page or the request."""
    named = _named(prices)
    return not named or bool(named & _TOKENS)


def _counts_more(prices: ModelPrice) -> bool:
    """True where tokens of images or sound have a price of their own, which usage leaves open."""
    return bool(_named(prices) - _TOKENS)
