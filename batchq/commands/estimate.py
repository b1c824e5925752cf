"""`estimate`: what calls would cost in a batch, and save."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import click

from batchq.commands import shapes
from batchq.commands.lines import lines_of
from batchq.commands.terminal import Exit, Terminal, command
from batchq.commands.traffic import Found, Traffic, Unreadable, Used
from batchq.common.words import many
from batchq.installation import is_installed
from batchq.money.cost import Cost, Planned, PriceTable, cost_of, estimated_cost, table_of
from batchq.settings.config import settings

__all__ = ["estimate"]

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """The calls of one model. Of those that have the batch price already, only the number."""

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: Cost = field(default_factory=Cost)
    halved: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost=self.cost + other.cost,
            halved=self.halved + other.halved,
        )


@dataclass(slots=True, kw_only=True)
class Estimate:
    """What was read so far."""

    table: PriceTable
    models: dict[str, Sum] = field(default_factory=lambda: defaultdict[str, Sum](Sum))
    unreadable: list[Unreadable] = field(default_factory=list[Unreadable])

    def add(self, found: Found) -> None:
        if isinstance(found, Unreadable):
            self.unreadable.append(found)
        else:
            self.models[found.model] += self._sum(found)

    def _sum(self, found: Planned | Used) -> Sum:
        match found:
            case Used(halved=True):
                return Sum(halved=found.calls)
            case Used(usage=usage, calls=calls):
                return Sum(
                    calls=calls,
                    input_tokens=usage.input_tokens,
                    cached_tokens=usage.cached_tokens,
                    output_tokens=usage.output_tokens,
                    cost=cost_of(found.model, usage, self.table, calls=calls),
                )
            case _:
                return Sum(
                    calls=1,
                    input_tokens=found.input_tokens,
                    output_tokens=found.output_tokens or 0,
                    cost=estimated_cost([found], self.table),
                )

    @property
    def total(self) -> Sum:
        return sum(self.models.values(), Sum())


@command(needs="nothing")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--model", default="", help="The model of lines that name none.")
@click.option(
    "--output-tokens",
    type=click.IntRange(min=0),
    help="Tokens to expect of an answer, where the file does not say.  [default: 250]",
)
@click.option("--account", help="Whose prices count; the default is the app's first account.")
def estimate(
    to: Terminal, file: str, *, model: str, output_tokens: int | None, account: str | None
) -> Exit:
    """What the calls in FILE would cost in batches, and save.

    FILE (- is stdin) is one of these, and which one is found out: lines of a batch file;
    request bodies, one a line; {"prompt": …} lines or JSON texts, with --model; a log of live
    calls with their `usage`, one a line; a usage export of OpenAI, as CSV or JSON. Where tokens
    are not reported they are estimated. Ends with 1 where something in it cannot be read.
    """
    found = Estimate(table=_prices(to.app, account))
    with lines_of(to, file) as lines:
        for one in Traffic(model=model, output_tokens=output_tokens).read(lines):
            found.add(one)
    if to.as_json:
        to.give(_shape(file, found))
    else:
        _tell(to, found)
    if not found.total.calls and not found.total.halved and not found.unreadable:
        to.note("there is nothing in it")
        return Exit.PROBLEM
    return Exit.PROBLEM if found.unreadable else Exit.FINE


def _prices(app: Any, account: str | None) -> PriceTable:
    """Those of the app; without one, OpenAI's."""
    if not is_installed(app):
        if account is not None:
            raise click.UsageError("--account needs an app with Batchq: celery -A shop batchq …")
        return PriceTable(own={}, provider="openai")
    config = settings(app)
    name = next(iter(config.accounts)) if account is None else account
    # Its own error says which there are.
    _ = config.accounts[name]
    return table_of(config, name)


def _tell(to: Terminal, found: Estimate) -> None:
    columns = [
        *("MODEL", ">CALLS", ">INPUT", ">CACHED", ">OUTPUT"),
        *(">BATCH", ">LIVE", ">SAVED"),
    ]
    rows = [_row(model, of) for model, of in found.models.items() if of.calls]
    total = found.total
    if len(rows) > 1:
        rows.append(_row("total", total))
    if rows:
        to.show(columns, rows)
    if total.halved:
        to.note(
            f"left out, for the price of a batch is theirs already: {many(total.halved, 'call')}"
        )
    for one in found.unreadable[:_SHOWN]:
        to.note(f"line {one.line:,}: {one.why}")
    if (more := len(found.unreadable) - _SHOWN) > 0:
        to.note(f"and {many(more, 'line')} more that cannot be read")


def _row(name: str, of: Sum) -> list[object]:
    tokens = [of.input_tokens, of.cached_tokens, of.output_tokens]
    return [name, of.calls, *tokens, of.cost.shown, of.cost.shown_live, of.cost.shown_saved]


def _shape(file: str, found: Estimate) -> dict[str, Any]:
    total = found.total
    return {
        "file": file,
        "models": [
            {
                "model": model,
                "calls": of.calls,
                "input_tokens": of.input_tokens,
                "cached_tokens": of.cached_tokens,
                "output_tokens": of.output_tokens,
                **shapes.bill(of.cost),
                "halved": of.halved,
            }
            for model, of in found.models.items()
        ],
        "total": {"calls": total.calls, **shapes.bill(total.cost), "halved": total.halved},
        "unreadable": [{"line": one.line, "why": one.why} for one in found.unreadable],
    }
