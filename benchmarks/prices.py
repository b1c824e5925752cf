"""What the cost of a row adds to a fetch, as a ratio to parsing the row.

    python -m benchmarks.prices [--rows 20000] [--rounds 5]

Rows are answers as a batch file has them, with a text of about 1 KB. In each round they are parsed,
priced by Batchq, and some of them by genai-prices itself, one after the other; the ratios are
medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

import genai_prices

from batchq.money.cost import Cost, PriceTable, cost_of, usage_of
from benchmarks.services import machine

MODEL = "gpt-5.6-luna"
SAMPLE = 20
"""One row in so many is priced by genai-prices: it takes that much longer."""


def report(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report(machine() + "\n")
    lines = [row(number) for number in range(options.rows)]
    rounds = [measured(lines) for _ in range(options.rounds)]
    parsing = median(one[0] for one in rounds)
    report("| a row is | \u00b5s | of parsing it |\n|---|---|---|")
    report(f"| parsed, by json.loads | {parsing * 1e6:.1f} | 1.00 |")
    for name, at in (("priced by Batchq", 1), ("priced by genai-prices", 2)):
        ratio = median(one[at] / one[0] for one in rounds)
        report(f"| {name} | {median(one[at] for one in rounds) * 1e6:.1f} | {ratio:.2f} |")


def row(number: int) -> bytes:
    usage = {
        "prompt_tokens": 400 + number % 700,
        "completion_tokens": 150 + number % 90,
        "total_tokens": 550,
        "prompt_tokens_details": {"cached_tokens": number % 300},
    }
    message = {"role": "assistant", "content": f"{number} " + "An answer of some length. " * 40}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "chatcmpl-1", "model": MODEL, "choices": [choice], "usage": usage}
    response = {"status_code": 200, "request_id": "req_1", "body": body}
    return json.dumps({"id": "r", "custom_id": f"task-{number}", "response": response}).encode()


def measured(lines: list[bytes]) -> tuple[float, float, float]:
    """Seconds of this process for a row: to parse it, and to price it in both ways."""
    rows: list[dict[str, Any]] = []
    parsing = each(lines, lambda line: rows.append(json.loads(line)))
    bodies = [one["response"]["body"] for one in rows]
    table, costs = PriceTable(own={}, provider="openai"), list[Cost]()
    pricing = each(bodies, lambda body: costs.append(cost_of(MODEL, usage_of(body), table)))
    theirs: list[Any] = []
    calculating = each(bodies[::SAMPLE], lambda body: theirs.append(calculated(body["usage"])))
    assert sum(theirs) * 10**9 == sum(costs[::SAMPLE], Cost()).batch
    return parsing, pricing, calculating


def each(items: Iterable[Any], work: Callable[[Any], None]) -> float:
    began, count = time.process_time(), 0
    for item in items:
        work(item)
        count += 1
    return (time.process_time() - began) / count


def calculated(usage: dict[str, Any]) -> Any:
    return genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage["prompt_tokens"],
            cache_read_tokens=usage["prompt_tokens_details"]["cached_tokens"],
            output_tokens=usage["completion_tokens"],
        ),
        MODEL,
        provider_id="openai",
        price_context={"processing": "batch"},
    ).total_price


if __name__ == "__main__":
    main()
