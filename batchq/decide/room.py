"""How many tokens may be queued at a provider, and what is learned where there was no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchq.settings.limits import Limits

__all__ = ["NO_ROOM", "limit_to_learn", "tokens_allowed"]

NO_LIMIT = 2**53

NO_ROOM = "token_limit_exceeded"


def tokens_allowed(limits: Limits, model: str, learned: int | None) -> int:
    """How many tokens may be queued at the provider for a model."""
    configured = limits.enqueued_tokens
    if isinstance(configured, dict):
        configured = configured.get(model)
    return min((limit for limit in (configured, learned) if limit is not None), default=NO_LIMIT)


def limit_to_learn(limit: int | None, *, refused: int, queued: int) -> int:
    """How many tokens to queue from now on, after a batch of ``refused`` tokens had no room.

    ``limit`` is what the provider says it to be, ``queued`` what was queued there by our own
    estimate, that batch included.
    """
    if limit is not None and queued > limit:
        return limit
    # By our estimate it had room: the estimate is too low, or others queue there too. Half of it
    # is the next try; an estimate is never so wrong that it takes less than a sixteenth.
    return max(1, refused // 2, 0 if limit is None else limit // 16)
