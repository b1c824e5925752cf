"""What prompts cost: usage as answers report it, prices as they are kept, and the bill."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import genai_prices
import pytest
from celery import Celery
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from batchq.common.words import dollars
from batchq.emulator import running
from batchq.emulator.prices import LONG, PRICES, nanodollars
from batchq.emulator.tokens import Usage as Billed
from batchq.errors import ConfigurationError
from batchq.money.cost import (
    EXPECTED_OUTPUT,
    Cost,
    Planned,
    PriceTable,
    Usage,
    cost_of,
    estimated_cost,
    planned,
    table_of,
    usage_of,
)
from batchq.settings.config import settings
from batchq.settings.record import Settings
from tests.conftest import LASTING
from tests.emulator.support import Desk, desk, line

NOW = datetime(2026, 11, 22, tzinfo=UTC)
OPENAI = PriceTable(own={}, provider="openai", at=NOW)
MODEL = "gpt-5.6-luna"
BATCH = {"processing": "batch"}
# No batch price is known of them, so what they cost in a batch is an estimate.
WITHOUT_BATCH = {"text-embedding-3-small", "text-embedding-3-large"}


def used(given: int = 0, cached: int = 0, output: int = 0, written: int = 0) -> Usage:
    return Usage(
        input_tokens=given, cached_tokens=cached, output_tokens=output, written_tokens=written
    )


def read(**conf: Any) -> Settings:
    app: Celery[Any] = Celery(set_as_current=False, broker="redis://redis.internal/0")
    app.conf.update(conf)
    return settings(app)


def refused(prices: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(batchq_prices=prices)
    return str(caught.value)


# Usage


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Iterator[Desk]:
    with running() as emulator:
        request.config.stash[LASTING].append(emulator)
        made = desk(emulator)
        with made.client:
            yield made


def ask(api: Desk, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = api.client.post(endpoint, body=body, cast_to=object)
    assert isinstance(answer, dict)
    return answer


ASKED: dict[str, dict[str, Any]] = {
    "/chat/completions": {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]},
    "/completions": {"model": MODEL, "prompt": "Hello!"},
    "/responses": {"model": MODEL, "input": "Hello!"},
    "/images/generations": {"model": "gpt-image-1", "prompt": "A boat"},
    "/embeddings": {"model": "text-embedding-3-small", "input": ["Hello!", "and more"]},
}


@pytest.mark.parametrize("endpoint", ASKED)
def test_the_usage_of_an_answer_is_what_it_was_billed_for(api: Desk, endpoint: str) -> None:
    api.emulator.reset()
    answer = ask(api, endpoint, ASKED[endpoint])
    usage = usage_of(answer)
    assert usage == usage_of(json.dumps(answer).encode())
    assert usage is not None
    bill = api.emulator.ledger()["totals"]["live"]
    assert usage.input_tokens == bill["input_tokens"] > 0
    assert usage.output_tokens == bill["output_tokens"]
    if ASKED[endpoint]["model"] in PRICES:
        cost = cost_of(ASKED[endpoint]["model"], usage, OPENAI)
        assert cost.live == round(bill["cost_usd"] * 1e9)


def test_a_moderation_reports_no_usage_and_costs_nothing(api: Desk) -> None:
    answer = ask(api, "/moderations", {"input": "Hello!"})
    assert usage_of(answer) is None
    assert cost_of("omni-moderation-latest", None, OPENAI) == Cost()


def test_an_answer_without_usage_is_unpriced_where_its_model_is_not_free() -> None:
    assert cost_of(MODEL, None, OPENAI) == Cost(estimated=True, unpriced=1)


def test_tokens_of_the_cache_are_part_of_the_input() -> None:
    chat = {"cached_tokens": 60, "cache_write_tokens": 30}
    completion = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": chat}
    response = {"input_tokens": 100, "output_tokens": 7, "input_tokens_details": chat}
    expected = used(100, cached=60, output=7, written=30)
    assert usage_of({"usage": completion}) == usage_of({"usage": response}) == expected
    # A provider that says the total alone.
    assert usage_of({"usage": {"total_tokens": 9}}) == used(9)
    # More than there is cannot have come from the cache, or gone there.
    much = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 70} | {"cache_write_tokens": 70},
    }
    assert usage_of({"usage": much}) == used(100, cached=70, written=30)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "prompt_tokens",
                    "input_tokens",
                    "completion_tokens",
                    "output_tokens",
                    "total_tokens",
                    "prompt_tokens_details",
                    "input_tokens_details",
                    "cached_tokens",
                    "cache_write_tokens",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(anything)
def test_rubbish_in_usage_never_raises_and_never_costs_less_than_nothing(rubbish: object) -> None:
    usage = usage_of({"usage": rubbish})
    if usage is not None:
        assert 0 <= usage.cached_tokens + usage.written_tokens <= usage.input_tokens
        assert usage.output_tokens >= 0
        assert cost_of(MODEL, usage, OPENAI).batch < 2**63


@given(st.binary(max_size=40))
def test_a_body_that_is_no_json_object_has_no_usage(body: bytes) -> None:
    assert usage_of(body) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"usage": []}', b'{"usage": {}}', b"[" * 100_000, b"9" * 9999]
)
def test_a_body_without_usage_has_none(body: bytes) -> None:
    assert usage_of(body) is None


# Prices


def calculated(model: str, usage: Usage, *, batch: bool) -> int:
    """genai-prices' own sum, in whole nano-dollars."""
    given_to_it = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.written_tokens,
        output_tokens=usage.output_tokens,
    )
    found = genai_prices.calc_price(
        given_to_it,
        model,
        provider_id="openai",
        genai_request_timestamp=NOW,
        price_context=BATCH if batch else None,
    )
    return int((found.total_price * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_UP))


@st.composite
def usages(draw: Callable[[Any], int], *, written: bool = True) -> Usage:
    """On both sides of the price of long requests, and right beside it."""
    beside = st.sampled_from([LONG - 1, LONG, LONG + 1])
    total = draw(st.integers(0, 2_000) | st.integers(0, 1_050_000) | beside)
    cached = draw(st.integers(0, total))
    return used(
        total,
        cached=cached,
        output=draw(st.integers(0, 130_000)),
        written=draw(st.integers(0, total - cached)) if written else 0,
    )


def priced_by_tokens() -> list[str]:
    """Every model of OpenAI's whose price genai-prices knows in full for what usage says."""
    (provider,) = (one for one in get_snapshot().providers if one.id == "openai")
    found = ((one.id, OPENAI.tariff(one.id)) for one in provider.models if one.is_match(one.id))
    return [model for model, tariff in found if tariff is not None]


@given(st.sampled_from(priced_by_tokens()), usages())
def test_a_cost_is_what_genai_prices_calculates(model: str, usage: Usage) -> None:
    """Rates are worked out once for a model, because genai-prices takes 0.1 ms for a request."""
    cost = cost_of(model, usage, OPENAI)
    assert cost.live == calculated(model, usage, batch=False)
    if not cost.estimated:
        assert cost.batch == calculated(model, usage, batch=True)


@pytest.mark.parametrize("model", [name for name in PRICES if name not in WITHOUT_BATCH])
def test_a_model_of_the_emulator_has_a_batch_price(model: str) -> None:
    tariff = OPENAI.tariff(model)
    assert tariff is not None
    assert not tariff.estimated


@pytest.mark.parametrize("model", sorted(WITHOUT_BATCH))
def test_a_model_without_a_batch_price_costs_half_and_says_so(model: str) -> None:
    """genai-prices answers with the standard price when it is asked for the batch price."""
    usage = used(1_000_000)
    assert calculated(model, usage, batch=True) == calculated(model, usage, batch=False)
    cost = cost_of(model, usage, OPENAI)
    assert cost.batch * 2 == cost.live == calculated(model, usage, batch=False) > 0
    assert cost.estimated


def test_a_batch_price_is_told_by_its_variant_not_by_its_numbers() -> None:
    """Cached input of gpt-4o-mini costs the same in a batch, and that is no estimate."""
    cost = cost_of("gpt-4o-mini", used(1000, cached=1000), OPENAI)
    assert (cost.batch, cost.live, cost.estimated) == (75_000, 75_000, False)


def test_before_a_batch_price_holds_it_is_an_estimate() -> None:
    early = replace(OPENAI, at=datetime(2026, 10, 13, tzinfo=UTC))
    assert cost_of(MODEL, used(1000), early).estimated
    assert not cost_of(MODEL, used(1000), OPENAI).estimated


def test_a_long_request_costs_more_by_itself() -> None:
    short, longer = (cost_of("gpt-5.6-luna", used(size), OPENAI) for size in (LONG, LONG + 1))
    assert short == Cost(batch=27_200_000, live=54_400_000)
    assert longer.batch == 54_400_200


def test_a_write_to_the_cache_costs_a_quarter_more() -> None:
    assert cost_of(MODEL, used(1000, written=1000), OPENAI).batch == 125_000
    # Where no price of it is published it is input like any other.
    assert cost_of("gpt-5-nano", used(1000, written=1000), OPENAI).batch == 25_000


@pytest.mark.parametrize("model", ["my-own", "", "ft:gpt-4.1-mini:org::abc", "whisper-1"])
def test_a_model_that_nobody_knows_is_unpriced(model: str) -> None:
    cost = cost_of(model, used(1000, output=10), OPENAI)
    assert cost == Cost(estimated=True, unpriced=1)
    assert cost.shown == cost.shown_saved == "unknown"


def test_a_snapshot_newer_than_the_prices_is_an_estimate() -> None:
    assert cost_of("gpt-5.4-2026-03-05", used(1000), OPENAI) == Cost(
        batch=1_250_000, live=2_500_000
    )
    assert cost_of("gpt-5.4-2031-01-01", used(1000), OPENAI) == Cost(
        batch=1_250_000, live=2_500_000, estimated=True
    )


def test_a_model_whose_images_cost_more_is_an_estimate() -> None:
    assert cost_of("gpt-image-1", used(1000), OPENAI).estimated


def test_costs_add_up() -> None:
    one, two = Cost(batch=1, live=3), Cost(batch=2, live=4, estimated=True, unpriced=5)
    assert one + two == Cost(batch=3, live=7, estimated=True, unpriced=5)
    assert (one + two).saved == 4


# The emulator


@pytest.mark.parametrize("model", PRICES)
@given(usage=usages(written=False))
def test_the_emulator_charges_what_we_compute(model: str, usage: Usage) -> None:
    billed = Billed(usage.input_tokens, usage.cached_tokens, usage.output_tokens)
    cost = cost_of(model, usage, OPENAI)
    assert nanodollars(model, billed, batch=True) == cost.batch
    assert nanodollars(model, billed, batch=False) == cost.live


@pytest.mark.parametrize(("model", "size"), [(MODEL, 40), ("gpt-5.4", 7), ("gpt-4.1-mini", 30)])
def test_the_rows_of_a_batch_cost_what_the_ledger_says(api: Desk, model: str, size: int) -> None:
    """To the nano-dollar, with one request long enough for the other price in it."""
    api.emulator.reset()
    texts = ["x" * 4 * LONG, *(f"Say something about {number}" for number in range(size))]
    done = api.run(
        [
            line(f"line-{at}", {"model": model, "messages": [{"role": "user", "content": text}]})
            for at, text in enumerate(texts)
        ]
    )
    rows = api.rows(done.output_file_id)
    assert len(rows) == len(texts)
    costs = [cost_of(model, usage_of(row["response"]["body"]), OPENAI) for row in rows]
    total = sum(costs, Cost())
    assert not total.estimated
    bill = api.emulator.ledger()["totals"]["batch"]
    assert total.batch == round(bill["cost_usd"] * 1e9) > 0
    assert total.live == round(bill["live_usd"] * 1e9) > total.batch


# The app's own table


def test_the_own_table_wins() -> None:
    own = {MODEL: {"input": 1, "cached": 0.1, "output": 4.0}}
    table = table_of(read(batchq_prices=own), "default", at=NOW)
    cost = cost_of(MODEL, used(1000, cached=500, output=100), table)
    assert cost == Cost(batch=475_000, live=950_000)


def test_what_the_own_table_leaves_out() -> None:
    table = table_of(read(batchq_prices={"a": {"input": 1, "output": 0}}), "default", at=NOW)
    # Cached input costs what other input costs, and a batch half.
    assert cost_of("a", used(1000, cached=400, written=9, output=5), table) == Cost(
        batch=500_000, live=1_000_000
    )


def test_the_own_table_says_everything() -> None:
    whole = {
        "input": 1,
        "cached": 0.5,
        "output": 4,
        "batch_input": 0.9,
        "batch_cached": 0,
        "batch_output": 3,
    }
    table = table_of(read(batchq_prices={"a": whole}), "default", at=NOW)
    assert cost_of("a", used(1000), table).batch == 900_000
    assert cost_of("a", used(1000, cached=1000), table) == Cost(batch=0, live=500_000)
    assert cost_of("a", used(0, output=1000), table).batch == 3_000_000


def test_a_batch_discount_on_input_holds_for_cached_input_too() -> None:
    own = {"a": {"input": 1, "output": 0, "batch_input": 0.25}}
    table = table_of(read(batchq_prices=own), "default", at=NOW)
    assert cost_of("a", used(1000, cached=1000), table).batch == 250_000


def test_an_exact_name_goes_before_that_of_the_model_without_its_date() -> None:
    own = {"a": {"input": 1, "output": 0}, "a-2026-07-01": {"input": 2, "output": 0}}
    table = table_of(read(batchq_prices=own), "default", at=NOW)
    live = {
        name: cost_of(name, used(1000), table).live
        for name in ("a", "a-2026-07-01", "a-2026-08-01")
    }
    assert live == {"a": 1_000_000, "a-2026-07-01": 2_000_000, "a-2026-08-01": 1_000_000}


@pytest.mark.parametrize(
    ("prices", "why"),
    [
        (3, r"batchq_prices = 3: accepted is a dict of prices by model"),
        ({3: {}}, r"batchq_prices = 3: accepted is the name of a model"),
        ({"a": 3}, r"batchq_prices\['a'\] = 3"),
        ({"a": {"input": 1}}, r"batchq_prices\['a'\].output: Field required"),
        (
            {"a": {"inptu": 1, "output": 1}},
            r"batchq_prices\['a'\].inptu: there is no price of that name. Did you mean input\?",
        ),
        (
            {"a": {"input": -1, "output": 1}},
            r"batchq_prices\['a'\].input = -1: accepted is a number of US dollars",
        ),
        ({"a": {"input": True, "output": 1}}, r"input = True: accepted is a number"),
        ({"a": {"input": "1", "output": 1}}, r"input = '1': accepted is a number"),
        ({"a": {"input": float("nan"), "output": 1}}, r"input = nan: accepted is a number"),
        ({"a": {"input": float("inf"), "output": 1}}, r"input = inf: accepted is a number"),
        ({"a": {"input": 1, "output": 1, "cached": 10**7}}, r"cached = 10000000: accepted is"),
    ],
)
def test_a_wrong_price_is_refused_in_words(prices: object, why: str) -> None:
    message = refused(prices)
    assert re.search(why, message), message


# Accounts


def source(**account: Any) -> tuple[str | None, bool]:
    table = table_of(read(batchq_accounts={"it": account}), "it", at=NOW)
    return table.provider, table.estimated


def test_an_account_says_whose_prices_it_pays() -> None:
    assert source(base_url="https://api.openai.com/v1") == ("openai", False)
    assert source(base_url="https://eu.api.openai.com/v1") == ("openai", True)
    assert source(base_url="http://proxy.internal:4000/v1") == (None, False)
    assert source(base_url="http://proxy.internal:4000/v1", prices="openai") == ("openai", False)
    assert source(kind="azure", base_url="https://shop.openai.azure.com") == ("azure", False)


def test_the_prices_of_an_unknown_host_are_unknown() -> None:
    """Its gpt-5.6-luna may be anything, and what it charges too."""
    host = {"base_url": "https://api.openai.com.elsewhere.example/v1"}
    given = read(batchq_accounts={"it": host}, batchq_prices={"a": {"input": 1, "output": 1}})
    table = table_of(given, "it", at=NOW)
    assert cost_of(MODEL, used(1000), table).unpriced == 1
    assert cost_of("a", used(1000), table).live == 1_000_000


def test_another_provider_is_known_by_its_base_url() -> None:
    groq = read(batchq_accounts={"it": {"base_url": "https://api.groq.com/openai/v1"}})
    cost = cost_of("openai/gpt-oss-120b", used(1_000_000), table_of(groq, "it", at=NOW))
    assert 0 < cost.batch < cost.live


def test_azure_charges_openais_prices_with_the_batch_price_estimated() -> None:
    azure = {"kind": "azure", "base_url": "https://shop.openai.azure.com"}
    table = table_of(read(batchq_accounts={"it": azure}), "it", at=NOW)
    cost = cost_of("gpt-5.4", used(1000), table)
    assert cost == Cost(batch=1_250_000, live=2_500_000, estimated=True)


def test_an_account_that_is_gone_has_the_own_prices() -> None:
    table = table_of(read(batchq_prices={"a": {"input": 1, "output": 1}}), "gone", at=NOW)
    assert cost_of("a", used(1000), table).live == 1_000_000
    assert cost_of(MODEL, used(1000), table).unpriced == 1


@pytest.mark.parametrize(
    ("prices", "why"),
    [
        ("opnai", r"accounts\['it'\].prices = 'opnai': .*genai-prices.* Did you mean openai\?"),
        (3, r"accounts\['it'\].prices: accepted is a provider"),
    ],
)
def test_an_unknown_provider_is_refused_in_words(prices: object, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read(batchq_accounts={"it": {"prices": prices}})


# For people


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "$0"),
        (1, "<$0.0001"),
        (49_999, "<$0.0001"),
        (50_000, "$0.0001"),
        (4_200_000, "$0.0042"),
        (420_000_000, "$0.4200"),
        (999_949_999, "$0.9999"),
        (999_950_000, "$1.00"),
        (12_300_000_000, "$12.30"),
        (12_345_678_000_000, "$12,345.68"),
        (-4_200_000, "-$0.0042"),
        (-1, "-<$0.0001"),
    ],
)
def test_an_amount_is_readable(amount: int, said: str) -> None:
    assert dollars(amount) == said


def test_a_cost_says_how_sure_it_is() -> None:
    sure = Cost(batch=4_200_000, live=8_400_000)
    assert (sure.shown, sure.shown_live, sure.shown_saved) == ("$0.0042", "$0.0084", "$0.0042")
    assert replace(sure, estimated=True).shown == "~$0.0042"
    assert replace(sure, estimated=True, unpriced=3).shown == "~$0.0042 (3 unpriced)"
    assert Cost().shown == "$0"


# Estimates


def test_what_was_not_sent_yet_is_estimated() -> None:
    lines = [
        Planned(model=MODEL, endpoint="/v1/responses", input_tokens=1000, output_tokens=100),
        Planned(model=MODEL, endpoint="/v1/responses", input_tokens=1000),
        Planned(model="text-embedding-3-small", endpoint="/v1/embeddings", input_tokens=1000),
    ]
    output = 100 + EXPECTED_OUTPUT
    live = 2 * 1000 * 200 + output * 1200 + 1000 * 20
    assert estimated_cost(lines, OPENAI) == Cost(batch=live // 2, live=live, estimated=True)
    assert estimated_cost([], OPENAI) == Cost(estimated=True)
    other = [Planned(model="my-own", endpoint="/v1/responses", input_tokens=1)]
    assert estimated_cost(other, OPENAI).unpriced == 1


def test_a_request_is_planned_by_its_body() -> None:
    body = {"model": MODEL, "input": "Hello!"}
    plan = planned("/v1/responses", json.dumps(body).encode())
    assert (plan.model, plan.output_tokens) == (MODEL, EXPECTED_OUTPUT)
    assert plan.input_tokens > 0
    limited = json.dumps(body | {"max_output_tokens": 20}).encode()
    assert planned("/v1/responses", limited).output_tokens == 20
    assert planned("/v1/responses", limited, output_tokens=5).output_tokens == 5
    assert planned("/v1/responses", b"rubbish").model == ""
    assert planned("/v1/embeddings", b"[]", output_tokens=0).output_tokens == 0


# Speed


def test_a_row_is_priced_faster_than_it_is_parsed() -> None:
    """A fetch prices 50,000 rows; genai-prices itself would add 5 seconds to it."""
    usage = used(1000, output=100)
    cost_of(MODEL, usage, OPENAI)
    began = time.process_time()
    for _ in range(2_000):
        cost_of(MODEL, usage, OPENAI)
    ours = time.process_time() - began
    began = time.process_time()
    for _ in range(200):
        calculated(MODEL, usage, batch=True)
        calculated(MODEL, usage, batch=False)
    assert ours / 2_000 < (time.process_time() - began) / 200 / 5


def test_the_sum_of_short_calls_is_not_one_long_call() -> None:
    """A day of an export: each of its calls was short."""
    one = cost_of("gpt-5.6-luna", used(LONG), OPENAI)
    many = cost_of("gpt-5.6-luna", used(LONG * 10), OPENAI, calls=10)
    assert (many.batch, many.live) == (one.batch * 10, one.live * 10)
    assert many.estimated, "some of them may have been long"
    assert not one.estimated
    assert cost_of("gpt-nobody", used(10), OPENAI, calls=10).unpriced == 10
