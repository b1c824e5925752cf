"""What happens to batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from batchq.common.words import dollars, many, span
from batchq.events.record import OfBatch

__all__ = [
    "BatchAdopted",
    "BatchChanged",
    "BatchEmptied",
    "BatchFailed",
    "BatchFinished",
    "BatchSealed",
    "BatchSetAside",
    "BatchSubmitted",
    "BatchWoken",
    "Reason",
]

Reason = Literal[
    "validation",
    "no_room",
    "paused",
    "expired",
    "cancelled",
    "deadline",
    "lost",
    "refused",
    "given_up",
]
"""Why a batch failed; docs/notices.md says when each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSubmitted(OfBatch):
    """A batch was created at the provider, as ``provider_id``; ``tokens`` is our estimate."""

    provider_id: str
    tokens: int

    def __str__(self) -> str:
        return f"{self._subject()} is submitted as {self.provider_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended(OfBatch):
    """``answered`` prompts got an outcome from it, an error of their own included; ``failed`` rows
    brought an error or nothing. ``asked_again`` go into another batch. ``took`` is the time
    from its seal to here. Costs are nano-dollars, of which ``estimated`` rows at a guess and
    ``unpriced`` ones at nothing.
    """

    provider_id: str
    answered: int = 0
    failed: int = 0
    asked_again: int = 0
    took: timedelta
    cost: int = 0
    live_cost: int = 0
    estimated: int = 0
    unpriced: int = 0

    def _counts(self) -> str:
        parts = [f"{self.answered:,} answered"]
        parts += [f"{self.failed:,} failed"] if self.failed else []
        parts += [f"{self.asked_again:,} asked again"] if self.asked_again else []
        parts += [f"after {span(self.took)}"]
        guess = "~" if self.estimated else ""
        parts += [f"for {guess}{dollars(self.cost)}"] if self.cost else []
        parts += [f"{self.unpriced:,} at a price that is not known"] if self.unpriced else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFinished(_Ended):
    """A batch is completed, and what it brought is given out."""

    def __str__(self) -> str:
        return f"{self._subject()} is finished: {self._counts()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFailed(_Ended):
    """A batch ended otherwise than completed. ``codes`` are the provider's.

    Its prompts are not lost: they have an outcome, or are asked again.
    """

    reason: Reason
    codes: tuple[str, ...] = ()

    def __str__(self) -> str:
        codes = f" ({', '.join(self.codes)})" if self.codes else ""
        return f"{self._subject()} failed, {_WHY_FAILED[self.reason]}{codes}: {self._counts()}"


_WHY_FAILED: Mapping[Reason, str] = {
    "validation": "its file was refused",
    "no_room": "the provider has no room for it",
    "paused": "its account is paused",
    "expired": "it expired",
    "cancelled": "it was cancelled",
    "deadline": "it was not final in time",
    "lost": "the provider does not know it any more",
    "refused": "the provider refused to create it",
    "given_up": "it was set aside and nobody retried it",
}

# Smaller steps, which have no signal


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSealed(OfBatch):
    """Prompts have left their lane for a batch."""

    tokens: int

    def __str__(self) -> str:
        return f"{many(self.prompts, 'prompt')} of lane {self.lane} are sealed into {self.batch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChanged(OfBatch):
    """A poll found another ``status`` of the provider than the one before it."""

    status: str
    completed: int = 0
    failed: int = 0

    def __str__(self) -> str:
        counts = f", {self.completed:,} completed, {self.failed:,} failed"
        return f"{self._subject()} is {self.status}{counts if self.completed + self.failed else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEmptied(OfBatch):
    """A batch came to nothing before it was created: nobody waits for any of its prompts."""

    def __str__(self) -> str:
        return f"{self._subject()} is dropped: nobody waits for any of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAdopted(OfBatch):
    """A batch that the journal had lost was found again at the provider."""

    provider_id: str

    def __str__(self) -> str:
        return f"{self._subject()} is found again at the provider, as {self.provider_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWoken(OfBatch):
    """Rescue found a batch's next step late. ``state`` says which step that is."""

    state: str

    def __str__(self) -> str:
        return f"{self._subject()}, {self.state}, was late and is woken"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSetAside(OfBatch):
    """A batch goes no further by itself: the steps on it killed their worker ``kills`` times in a
    row, or, with ``kills`` 0, for another ``reason``. Its prompts wait.
    """

    kills: int
    reason: str = ""

    def __str__(self) -> str:
        retry = f"batchq.retry(app, {self.batch!r}) tries it again"
        if self.reason:
            return f"batch {self.batch} of lane {self.lane} is {self.reason}; {retry}"
        what = f"steps on batch {self.batch} of lane {self.lane} killed their worker"
        return f"{what} {self.kills} times in a row; {retry}"
