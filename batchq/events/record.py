"""What every event has."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from batchq.common.words import many

__all__ = ["Event", "OfBatch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something has happened. ``at`` is when, by Redis's clock.

    ``id`` is its place in the journal's stream; empty in a signal. ``str()`` is a sentence.
    """

    at: datetime
    id: str = field(default="", compare=False)

    @property
    def kind(self) -> str:
        """The name of its class in small letters, as `KINDS` has it: ``batch_submitted``."""
        return re.sub(r"\B(?=[A-Z])", "_", type(self).__name__).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfBatch(Event):
    batch: str
    lane: str
    prompts: int

    def _subject(self) -> str:
        return f"batch {self.batch} of lane {self.lane} ({many(self.prompts, 'prompt')})"
