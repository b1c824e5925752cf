"""The prices that an app names itself, and whose prices an account pays."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, cast

from pydantic import BeforeValidator, ValidationError

from batchq.common.record import Record, explain, nearest
from batchq.errors import ConfigurationError

__all__ = ["OwnPrice", "known_provider", "read_prices"]

_MOST_DOLLARS = 1_000_000


def _price(value: object) -> Decimal:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        price = Decimal(str(value))
        if price.is_finite() and 0 <= price <= _MOST_DOLLARS:
            return price
    raise ValueError("accepted is a number of US dollars for a million tokens, 0 or more")


Dollars = Annotated[Decimal, BeforeValidator(_price)]


class OwnPrice(Record):
    """What a model costs, in US dollars for a million tokens.

    Left out, cached tokens cost what others cost, and a batch half of the live calls.
    """

    _what: ClassVar[str] = "price"

    input: Dollars
    cached: Dollars | None = None
    output: Dollars
    batch_input: Dollars | None = None
    batch_cached: Dollars | None = None
    batch_output: Dollars | None = None


def read_prices(value: object) -> dict[str, OwnPrice]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            "prices",
            repr(value),
            'accepted is a dict of prices by model, such as {"gpt-x": {"input": 1, "output": 4}}',
        )
    given = cast("Mapping[object, object]", value)
    return {cast("str", model): _own_price(model, price) for model, price in given.items()}


def _own_price(model: object, given: object) -> OwnPrice:
    if not isinstance(model, str) or not model:
        raise ConfigurationError("prices", repr(model), "accepted is the name of a model")
    where = f"prices[{model!r}]"
    try:
        return OwnPrice.model_validate(given)
    except ConfigurationError as error:
        setting = f"{where}.{error.setting}"
        raise ConfigurationError(setting, error.given, error.expected, error.nearest) from None
    except ValidationError as error:
        # What is missing has no value to show.
        missing = error.errors(include_url=False)[0]["type"] == "missing"
        raise explain(error, where + ".", show=not missing) from None


def known_provider(name: str) -> str:
    """Raises ConfigurationError where genai-prices has no provider of that name."""
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

    providers = get_snapshot().providers
    if find_provider_by_id(providers, name) is None:
        names = [provider.id for provider in providers]
        raise ConfigurationError(
            "prices",
            repr(name),
            "accepted is a provider of genai-prices, such as 'openai'",
            nearest(name, names),
        )
    return name
