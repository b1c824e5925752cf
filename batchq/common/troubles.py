"""Why an account can do nothing for a while: the reasons that there are, and their words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["BECAUSE", "REASONS", "Trouble", "TroubleReason"]

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
