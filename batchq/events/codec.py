"""Events as the journal's stream keeps them: JSON with its kind, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, cast, get_args

from batchq.common.troubles import TroubleReason
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
from batchq.events.record import Event
from batchq.events.tasks import LaneStuck, StuckReason, TaskDead, TasksRescued

__all__ = ["KINDS", "OtherEvent", "from_json", "to_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherEvent(Event):
    """An event of a kind that this release does not know: a newer one has written it."""

    name: str
    fields: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return self.name

    def __str__(self) -> str:
        return f"{self.name} {json.dumps(self.fields, ensure_ascii=False)}"


KINDS: Mapping[str, type[Event]] = {
    "batch_submitted": BatchSubmitted,
    "batch_finished": BatchFinished,
    "batch_failed": BatchFailed,
    "task_dead": TaskDead,
    "batch_set_aside": BatchSetAside,
    "limit_reached": LimitReached,
    "account_paused": AccountPaused,
    "budget_near": BudgetNear,
    "lane_stuck": LaneStuck,
    "batch_sealed": BatchSealed,
    "batch_changed": BatchChanged,
    "batch_emptied": BatchEmptied,
    "batch_adopted": BatchAdopted,
    "batch_woken": BatchWoken,
    "account_goes_on": AccountGoesOn,
    "tasks_rescued": TasksRescued,
}


def to_json(event: Event) -> str:
    """An event as the stream keeps it: times and durations are milliseconds."""
    plain = {each.name: _plain(getattr(event, each.name)) for each in fields(event)}
    del plain["id"]
    return json.dumps({"kind": event.kind, **plain})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return round(value.total_seconds() * 1000) if isinstance(value, timedelta) else value


def from_json(text: str | bytes, *, id: str = "") -> Event:  # noqa: A002 the field is called so
    """The record again. Raises ValueError for what is no event; what is one, but of no known kind
    or with other fields, is an OtherEvent.
    """
    try:
        found = cast("dict[str, Any]", json.loads(text))
        kind, at = str(found.pop("kind")), _time(found.pop("at"))
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ValueError("it is no event") from None
    record = KINDS.get(kind)
    try:
        if record is not None:
            return record(at=at, id=id, **_read(record, found))
    except (LookupError, ValueError, TypeError, OverflowError):
        pass
    return OtherEvent(at=at, id=id, name=kind, fields=found)


def _read(record: type[Event], found: Mapping[str, Any]) -> dict[str, Any]:
    # A field that a newer release has added is left out; one that is missing has its default.
    return {
        each.name: _READ[str(each.type)](found[each.name])
        for each in fields(record)
        if each.name in found and each.name != "id"
    }


def _time(value: Any) -> datetime:
    return datetime.fromtimestamp(value / 1000, tz=UTC)


def _duration(value: Any) -> timedelta:
    return timedelta(milliseconds=value)


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _or_none(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


_READ: Mapping[str, Callable[[Any], Any]] = {
    "str": _word,
    "int": int,
    "int | None": _or_none(int),
    "timedelta": _duration,
    "timedelta | None": _or_none(_duration),
    "tuple[str, ...]": lambda value: tuple(map(_word, value)),
    "Reason": lambda value: _one_of(value, get_args(Reason)),
    "TroubleReason": lambda value: _one_of(value, get_args(TroubleReason)),
    "LimitReason": lambda value: _one_of(value, get_args(LimitReason)),
    "StuckReason": lambda value: _one_of(value, get_args(StuckReason)),
}


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError("a newer release knows more")
    return _word(value)
