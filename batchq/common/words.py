"""How figures are written for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

__all__ = ["UNITS", "dollars", "first_few", "in_units", "many", "span"]


def dollars(nanodollars: int) -> str:
    """An amount for people: four digits behind the point below a dollar, two from there on."""
    sign, amount = ("-", -nanodollars) if nanodollars < 0 else ("", nanodollars)
    if amount == 0:
        return "$0"
    if amount < 50_000:  # Would be rounded to nothing.
        return f"{sign}<$0.0001"
    if amount < 999_950_000:  # What is rounded to a whole dollar is shown as one.
        return f"{sign}${(amount + 50_000) // 100_000 / 10_000:.4f}"
    cents = (amount + 5_000_000) // 10_000_000
    return f"{sign}${cents // 100:,}.{cents % 100:02}"


def span(duration: timedelta) -> str:
    """A length of time in its two largest units: ``2 h 10 min``."""
    return in_units(round(duration.total_seconds()))


UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def in_units(seconds: int, units: Sequence[tuple[str, int]] = UNITS) -> str:
    """The two largest of these units that so many seconds have, one behind the other."""
    left, parts = max(0, seconds), list[str]()
    for unit, size in units:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def many(count: int, what: str) -> str:
    """``1 prompt``, ``2 prompts``, ``2 batches``."""
    ending = "" if count == 1 else "es" if what.endswith("ch") else "s"
    return f"{count:,} {what}{ending}"


def first_few(names: Sequence[str], most: int = 3) -> str:
    """``a, b, c and 4 more``: nobody reads hundreds."""
    left_out = len(names) - most
    shown = ", ".join(names[:most])
    return f"{shown} and {left_out:,} more" if left_out > 0 else shown
