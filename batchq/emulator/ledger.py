"""Who ran what, how often, and what it cost.

A line is billed in the transaction that records it as run, so that the ledger and the position of
the batch cannot disagree, whenever the process dies.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from batchq.emulator.prices import is_priced, nanodollars
from batchq.emulator.shapes import JsonObject
from batchq.emulator.tokens import Usage

SCHEMA = """
CREATE TABLE IF NOT EXISTS lines (
    custom_id TEXT PRIMARY KEY, ok INTEGER, failed INTEGER,
    input_tokens INTEGER, cached_tokens INTEGER, output_tokens INTEGER,
    nanodollars INTEGER, live_nanodollars INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS billed_twice ON lines (custom_id) WHERE ok > 1;
CREATE TABLE IF NOT EXISTS totals (
    source TEXT, model TEXT, ok INTEGER, failed INTEGER,
    input_tokens INTEGER, cached_tokens INTEGER, output_tokens INTEGER,
    nanodollars INTEGER, live_nanodollars INTEGER,
    PRIMARY KEY (source, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (
    name TEXT PRIMARY KEY, value INTEGER
) STRICT, WITHOUT ROWID;
"""
ADD = """
    ok = ok + excluded.ok, failed = failed + excluded.failed,
    input_tokens = input_tokens + excluded.input_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    nanodollars = nanodollars + excluded.nanodollars,
    live_nanodollars = live_nanodollars + excluded.live_nanodollars
"""
NOTHING: JsonObject = {
    "ok": 0,
    "failed": 0,
    "input_tokens": 0,
    "cached_tokens": 0,
    "output_tokens": 0,
    "nanodollars": 0,
    "live_nanodollars": 0,
}
COUNTED = tuple(NOTHING)


@dataclass(frozen=True)
class Entry:
    """One execution of one line, or one live call (then without a custom_id)."""

    model: str
    ok: bool
    usage: Usage
    custom_id: str = ""

    def numbers(self, *, batch: bool) -> tuple[int, ...]:
        """In the order of `COUNTED`. A request is priced by itself: a long one costs more."""
        usage = self.usage
        return (
            int(self.ok),
            int(not self.ok),
            usage.input_tokens,
            usage.cached_tokens,
            usage.output_tokens,
            nanodollars(self.model, usage, batch=batch),
            nanodollars(self.model, usage, batch=False),
        )


class Ledger:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(SCHEMA)

    def clear(self) -> None:
        for table in ("lines", "totals", "counters"):
            self._database.execute(f"DELETE FROM {table}")

    def record_lines(self, entries: Iterable[Entry]) -> None:
        """Bill executions of batch lines. Call it inside the store's transaction."""
        entries = list(entries)
        places = ", ".join("?" * (1 + len(COUNTED)))
        self._database.executemany(
            f"INSERT INTO lines VALUES ({places}) ON CONFLICT DO UPDATE SET {ADD}",
            [(_storable(entry.custom_id), *entry.numbers(batch=True)) for entry in entries],
        )
        self._add_totals("batch", entries)

    def record_live(self, entry: Entry) -> None:
        self._add_totals("live", [entry])

    def _add_totals(self, source: str, entries: list[Entry]) -> None:
        totals: dict[str, tuple[int, ...]] = {}
        for entry in entries:
            model = _storable(entry.model)
            numbers = entry.numbers(batch=source == "batch")
            so_far = totals.get(model, (0,) * len(numbers))
            totals[model] = tuple(map(sum, zip(so_far, numbers, strict=True)))
        places = ", ".join("?" * (2 + len(COUNTED)))
        self._database.executemany(
            f"INSERT INTO totals VALUES ({places}) ON CONFLICT DO UPDATE SET {ADD}",
            [(source, model, *numbers) for model, numbers in totals.items()],
        )

    def count(self, name: str) -> None:
        """Add one to a counter: `uploads`, `live_calls`, `batches`."""
        self._database.execute(
            "INSERT INTO counters VALUES (?, 1) ON CONFLICT DO UPDATE SET value = value + 1",
            (name,),
        )

    def view(self, *, summary: bool) -> JsonObject:
        """The whole ledger, or (summary) without its 50,000 lines."""
        models: dict[str, dict[str, JsonObject]] = {}
        totals = {"batch": dict(NOTHING), "live": dict(NOTHING)}
        for source, model, *numbers in self._database.execute("SELECT * FROM totals"):
            bill = dict(zip(COUNTED, numbers, strict=True))
            models.setdefault(model, {})[source] = _in_dollars(bill)
            for name, value in bill.items():
                totals[source][name] += value
        counters = dict(self._database.execute("SELECT name, value FROM counters").fetchall())
        view: JsonObject = {
            "totals": {source: _in_dollars(bill) for source, bill in totals.items()},
            "models": models,
            "unpriced_models": sorted(model for model in models if not is_priced(model)),
            "uploads": counters.get("uploads", 0),
            "batches_created": counters.get("batches", 0),
            "live_calls": counters.get("live_calls", 0),
            "lines_known": self._database.execute("SELECT count(*) FROM lines").fetchone()[0],
            "duplicates": dict(
                self._database.execute("SELECT custom_id, ok FROM lines WHERE ok > 1").fetchall()
            ),
        }
        return view if summary else {**view, "lines": self._lines()}

    def _lines(self) -> dict[str, JsonObject]:
        return {
            custom_id: _in_dollars(dict(zip(COUNTED, numbers, strict=True)))
            for custom_id, *numbers in self._database.execute("SELECT * FROM lines")
        }


def _storable(name: str) -> str:
    """SQLite keeps no half of a surrogate pair, which JSON allows in a name."""
    return name.encode("utf-8", "replace").decode()


def _in_dollars(bill: JsonObject) -> JsonObject:
    """A bill with its money as people read it; summed it is in whole nano-dollars."""
    shown = dict(bill)
    shown["cost_usd"] = shown.pop("nanodollars") / 1e9
    shown["live_usd"] = shown.pop("live_nanodollars") / 1e9
    return shown
