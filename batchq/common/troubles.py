"""What may hold up an account or a lane: the reasons that there are, and their words.

The sentences are for all who say so, at the moment (events, notices) or later (findings).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from batchq.common.words import dollars, many

__all__ = [
    "BECAUSE",
    "REASONS",
    "StuckReason",
    "Trouble",
    "TroubleReason",
    "account_is_paused",
    "budget_is_reached",
    "lane_is_stuck",
]

TroubleReason = Literal["credit", "access", "file", "unknown"]
REASONS: tuple[TroubleReason, ...] = get_args(TroubleReason)

BECAUSE: Mapping[TroubleReason, str] = {
    "credit": "its credit is used up or its bill is not paid",
    "access": "its key is refused, or may not do this",
    "file": "the provider does not find the files it has taken",
    "unknown": "the provider refuses its files and names no line of them",
}
"""Why an account is paused, in words. The provider's own may repeat a prompt, and stay out."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an account can do nothing just now; ``code`` is the provider's, as a word."""

    reason: TroubleReason
    code: str


def account_is_paused(account: str, reason: TroubleReason, code: str) -> str:
    return f"account {account} is paused, because {BECAUSE[reason]} ({code})"


StuckReason = Literal["no_room", "no_account", "unknown"]

_WHY_STUCK: Mapping[StuckReason, str] = {
    "no_room": "the provider has no room",
    "no_account": "its account is not in the settings",
    "unknown": "nothing flushes it",
}


def lane_is_stuck(lane: str, why: StuckReason, prompts: int) -> str:
    return f"lane {lane} is stuck, {_WHY_STUCK[why]}: {many(prompts, 'prompt')}"


def budget_is_reached(percent: int, budget: int, day: str) -> str:
    """``budget`` is in nano-dollars."""
    return f"{percent} % of the budget of {dollars(budget)} for {day} is reached"
