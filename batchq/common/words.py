"""How figures are written for people."""

from __future__ import annotations

__all__ = ["dollars"]


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
