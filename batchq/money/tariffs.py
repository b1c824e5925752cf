"""What tokens of a model cost at an account: the app's own table first, then genai-prices.

genai-prices works offline, and takes 0.1 ms for each request. So its prices are read once for a
model, and a request is counted with whole numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, PriceCalculation

    from batchq.money.usage import Usage
    from batchq.settings.account import Account
    from batchq.settings.prices import OwnPrice
    from batchq.settings.record import Settings

__all__ = ["PriceTable", "Tariff", "table_of"]

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


_ALL = -1
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """What models cost at one account, as of `at`.

    `own` is the app's own table; `provider` is whose prices count otherwise, by its name in
    genai-prices. None: nobody's.
    """

    own: Mapping[str, OwnPrice]
    provider: str | None = None
    estimated: bool = False
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _known: dict[str, Tariff | None] = field(
        default_factory=dict[str, "Tariff | None"], init=False, repr=False, compare=False
    )

    def tariff(self, model: str) -> Tariff | None:
        """The prices of `model`; None where nobody knows them."""
        if model not in self._known:
            self._known[model] = self._find(model)
        return self._known[model]

    def _find(self, model: str) -> Tariff | None:
        undated = _DATED.sub("", model)
        own = self.own.get(model, self.own.get(undated))
        if own is not None:
            return _own_tariff(own)
        known = _kept(model, self)
        if known is None and undated != model:
            # A snapshot that is newer than the prices: most cost what their model costs.
            known = _kept(undated, self)
            return None if known is None else Tariff(tiers=known.tiers, estimated=True)
        return known


def table_of(settings: Settings, account: str, *, at: datetime | None = None) -> PriceTable:
    """The prices that hold for an account. It is made for one piece of work, not kept for long:
    its prices are those of the time it is made at. An account that is gone has the own ones only.
    """
    at = datetime.now(UTC) if at is None else at
    if account not in settings.accounts:
        return PriceTable(own=settings.prices, at=at)
    found = settings.accounts[account]
    provider, estimated = _provider_of(found)
    return PriceTable(
        own=settings.prices,
        provider=provider,
        estimated=estimated,
        at=at,
    )


def _provider_of(account: Account) -> tuple[str | None, bool]:
    """Whose prices an account pays, as far as we know, and whether they may differ from it."""
    if account.prices is not None:
        return account.prices, False
    if account.kind == "azure":
        return "azure", False
    host = urlsplit(account.base_url).hostname or ""
    # In some regions OpenAI's prices are others, and genai-prices does not have them.
    regional = host.endswith(".api.openai.com")
    return ("openai" if regional else _provider_at(account.base_url)), regional


def _provider_at(url: str) -> str | None:
    from genai_prices.data_snapshot import get_snapshot

    for provider in get_snapshot().providers:
        found = re.match(provider.api_pattern, url)
        # The patterns are open at their end: api.openai.com.example.org is not OpenAI.
        if found and (url[: found.end()].endswith("/") or url[found.end() :][:1] in ("", "/", ":")):
            return provider.id
    return None


# The kept source: genai-prices

_BATCH = {"processing": "batch"}


def _kept(model: str, table: PriceTable) -> Tariff | None:
    if table.provider is None:
        return None
    try:
        live = _calculated(model, table.provider, table.at)
        batch = _calculated(model, table.provider, table.at, _BATCH)
    except (LookupError, ValueError):
        return None
    if not _by_tokens(live.model_price):
        return None
    halved = not _has_batch_price(live, table.at)
    tiers = [
        _tier(above, live.model_price, None if halved else batch.model_price)
        for above in sorted({_ALL, *_starts(live), *_starts(batch)}, reverse=True)
    ]
    guessed = halved or table.estimated or _counts_more(live.model_price)
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
    return _scaled(price) if isinstance(price, Decimal) else None


def _scaled(price: Decimal) -> int:
    return int(price.scaleb(_PLACES))


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


# The app's own table


def _own_tariff(price: OwnPrice) -> Tariff:
    batch_input = _given(price.batch_input, price.input / 2)
    half_cached = batch_input if price.cached is None else price.cached / 2
    live = _own_rates(price.input, _given(price.cached, price.input), price.output)
    batch = _own_rates(
        batch_input,
        _given(price.batch_cached, half_cached),
        _given(price.batch_output, price.output / 2),
    )
    return Tariff(tiers=(Tier(above=_ALL, batch=batch, live=live),), estimated=False)


def _given(price: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if price is None else price


def _own_rates(full: Decimal, cached: Decimal, output: Decimal) -> Rates:
    return Rates(
        input=_scaled(full), cached=_scaled(cached), written=_scaled(full), output=_scaled(output)
    )
