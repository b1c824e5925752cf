"""What happens to accounts, and to the budget."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from batchq.common.troubles import TroubleReason, account_is_paused, budget_is_reached
from batchq.common.words import dollars, span
from batchq.events.record import Event

__all__ = ["AccountGoesOn", "AccountPaused", "BudgetNear", "LimitReached", "LimitReason"]

LimitReason = Literal["no_room", "throttled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached(Event):
    """The provider takes no more for now: too much is queued there (``no_room``), or it asks for
    fewer calls (``throttled``). ``limit`` is how many tokens are queued from now on.

    Told once an hour for an account, a model and a reason.
    """

    account: str
    model: str
    lane: str
    batch: str
    reason: LimitReason
    limit: int | None = None
    retry_after: timedelta | None = None

    def __str__(self) -> str:
        who = f"account {self.account} for {self.model}"
        if self.reason == "throttled":
            pause = "" if self.retry_after is None else f" for {span(self.retry_after)}"
            return f"{who} is throttled{pause}: batch {self.batch} waits"
        limit = "" if self.limit is None else f", at most {self.limit:,} tokens are queued now"
        return f"{who} has no room for batch {self.batch}{limit}; its prompts go again"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPaused(Event):
    """An account can do nothing for a while: no prompt fails by it, and none of it is sent but a
    small batch now and then, which tries whether it is over. ``code`` is the provider's; ``lane``
    and ``batch`` are those that met it.

    Told once an hour for an account and a reason.
    """

    account: str
    reason: TroubleReason
    code: str
    lane: str
    batch: str

    def __str__(self) -> str:
        paused = account_is_paused(self.account, self.reason, self.code)
        return f"{paused}; its prompts wait, and go on by themselves once it is over"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetNear(Event):
    """``percent`` (80 or 100) of ``batchq_budget`` is reached: ``spent`` by the batches that ended
    on this day (UTC), ``under_way`` by a guess at the open ones. Nano-dollars. Nothing stops by it.

    Told once a day for each percentage.
    """

    day: str
    percent: int
    spent: int
    under_way: int
    budget: int

    def __str__(self) -> str:
        guess = f" and ~{dollars(self.under_way)} under way" if self.under_way else ""
        reached = budget_is_reached(self.percent, self.budget, self.day)
        return f"{reached}: {dollars(self.spent)} spent{guess}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountGoesOn(Event):
    """An account that was paused for so long goes on."""

    account: str
    paused_for: timedelta

    def __str__(self) -> str:
        return f"account {self.account} goes on, after a pause of {span(self.paused_for)}"
