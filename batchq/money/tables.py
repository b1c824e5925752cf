"""What the models of an account cost: the app's own table first, then the published prices.

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

from batchq.money.published import provider_at, published_tariff
from batchq.money.tariffs import ALL, Rates, Tariff, Tier, scaled

if TYPE_CHECKING:
    from batchq.settings.account import Account
    from batchq.settings.prices import OwnPrice
    from batchq.settings.record import Settings

__all__ = ["PriceTable", "table_of"]

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
        known = self._published(model)
        if known is None and undated != model:
            # A snapshot that is newer than the prices: most cost what their model costs.
            known = self._published(undated)
            return None if known is None else Tariff(tiers=known.tiers, estimated=True)
        return known

    def _published(self, model: str) -> Tariff | None:
        if self.provider is None:
            return None
        return published_tariff(model, self.provider, at=self.at, estimated=self.estimated)


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
    return ("openai" if regional else provider_at(account.base_url)), regional


def _own_tariff(price: OwnPrice) -> Tariff:
    batch_input = _given(price.batch_input, price.input / 2)
    half_cached = batch_input if price.cached is None else price.cached / 2
    live = _own_rates(price.input, _given(price.cached, price.input), price.output)
    batch = _own_rates(
        batch_input,
        _given(price.batch_cached, half_cached),
        _given(price.batch_output, price.output / 2),
    )
    return Tariff(tiers=(Tier(above=ALL, batch=batch, live=live),), estimated=False)


def _given(price: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if price is None else price


def _own_rates(full: Decimal, cached: Decimal, output: Decimal) -> Rates:
    return Rates(
        input=scaled(full), cached=scaled(cached), written=scaled(full), output=scaled(output)
    )
