"""Who ran what, how often, and what it cost.

A line is billed in the transaction that records it as run, so that the ledger and the position of
the batch cannot disagree, whenever the process dies.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from batchq.emulator.prices import PRICES, cost
from batchq.emulator.shapes import JsonObject
from batchq.emulator.tokens import Usage

SCHEMA = """
CREATE TABLE IF NOT EXISTS lines (
    custom_id TEXT PRIMARY KEY, ok INTEGER, failed INTEGER,
    input_tokens INTEGER, cached_tokens INTEGER, output_tokens INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS billed_twice ON lines (custom_id) WHERE ok > 1;
CREATE TABLE IF NOT EXISTS totals (
    source TEXT, model TEXT, ok INTEGER, failed INTEGER,
    input_tokens INTEGER, cached_tokens INTEGER, output_tokens INTEGER,
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
    output_tokens = output_tokens + excluded.output_tokens
"""
NOTHING: JsonObject = {
    "ok": 0,
    "failed": 0,
    "input_tokens": 0,
    "cached_tokens": 0,
    "output_tokens": 0,
    "cost_usd": 0.0,
}


@dataclass(frozen=True)
class Entry:
    """One execution of one line, or one live call (then without a custom_id)."""

    model: str
    ok: bool
    usage: Usage
    custom_id: str = ""

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        usage = self.usage
        return (
            int(self.ok),
            int(not self.ok),
            usage.input_tokens,
            usage.cached_tokens,
            usage.output_tokens,
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
        self._database.executemany(
            f"INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {ADD}",
            [(_storable(entry.custom_id), *entry.numbers) for entry in entries],
        )
        self._add_totals("batch", entries)

    def record_live(self, entry: Entry) -> None:
        self._add_totals("live", [entry])

    def _add_totals(self, source: str, entries: list[Entry]) -> None:
        totals: dict[str, tuple[int, ...]] = {}
        for entry in entries:
            model = _storable(entry.model)
            so_far = totals.get(model, (0, 0, 0, 0, 0))
            totals[model] = tuple(map(sum, zip(so_far, entry.numbers, strict=True)))
        self._database.executemany(
            f"INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {ADD}",
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
            bill = _bill(source, model, numbers)
            models.setdefault(model, {})[source] = bill
            for name, value in bill.items():
                totals[source][name] += value
        counters = dict(self._database.execute("SELECT name, value FROM counters").fetchall())
        view: JsonObject = {
            "totals": totals,
            "models": models,
            "unpriced_models": sorted(model for model in models if model not in PRICES),
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
        names = ("ok", "failed", "input_tokens", "cached_tokens", "output_tokens")
        return {
            custom_id: dict(zip(names, numbers, strict=True))
            for custom_id, *numbers in self._database.execute("SELECT * FROM lines")
        }


def _storable(name: str) -> str:
    """SQLite keeps no half of a surrogate pair, which JSON allows in a name."""
    return name.encode("utf-8", "replace").decode()


def _bill(source: str, model: str, numbers: list[int]) -> JsonObject:
    ok, failed, input_tokens, cached_tokens, output_tokens = numbers
    return {
        "ok": ok,
        "failed": failed,
        "input_tokens": input_tokens,
        "cached_tokens": cached_tokens,
        "output_tokens": output_tokens,
        "cost_usd": cost(
            model,
            input_tokens=input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=output_tokens,
            batch=source == "batch",
        ),
    }
