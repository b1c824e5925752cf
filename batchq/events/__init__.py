"""Events: what happens on the journey, as frozen records.

They hold ids, lanes, counts, times, codes and money; no prompt, no answer, no key. Those with a
signal are sent as signals too (`batchq.signals`); all of them are in the journal's stream.
"""

from __future__ import annotations

from batchq.common.words import span
from batchq.events.accounts import (
    AccountGoesOn,
    AccountPaused,
    BudgetNear,
    LimitReached,
    LimitReason,
)
from batchq.events.batches import (
    BatchAdopted,
    BatchChanged,
    BatchEmptied,
    BatchFailed,
    BatchFinished,
    BatchSealed,
    BatchSetAside,
    BatchSubmitted,
    BatchWoken,
    Reason,
)
from batchq.events.codec import KINDS, OtherEvent, from_json, to_json
from batchq.events.record import Event
from batchq.events.tasks import LaneStuck, StuckReason, TaskDead, TasksRescued

__all__ = [
    "KINDS",
    "AccountGoesOn",
    "AccountPaused",
    "BatchAdopted",
    "BatchChanged",
    "BatchEmptied",
    "BatchFailed",
    "BatchFinished",
    "BatchSealed",
    "BatchSetAside",
    "BatchSubmitted",
    "BatchWoken",
    "BudgetNear",
    "Event",
    "LaneStuck",
    "LimitReached",
    "LimitReason",
    "OtherEvent",
    "Reason",
    "StuckReason",
    "TaskDead",
    "TasksRescued",
    "from_json",
    "span",
    "to_json",
]
