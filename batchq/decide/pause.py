"""How long an account that can do nothing is paused, and with what is tried whether it still is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchq.settings.limits import Limits
    from batchq.settings.record import Settings

__all__ = ["account_pauses", "probe_limits"]

_PROBE = 10
"""Prompts that try whether a paused account can go on: few enough to lose no time with them."""
_POLLS = 12


def account_pauses(settings: Settings) -> tuple[timedelta, timedelta]:
    """How long an account is paused at first, and at the longest; in between it doubles."""
    return _POLLS * settings.poll_first, _POLLS * settings.poll_longest


def probe_limits(limits: Limits) -> Limits:
    """What the batch holds at most that tries whether an account can go on."""
    return limits.model_copy(update={"lines": min(_PROBE, limits.lines)})
