"""Events: what happens on the journey, as frozen records.

They hold ids, lanes, counts, times, codes and money; no prompt, no answer, no key. The first eight
kinds are sent as signals too (`batchq.signals`); all of them are in the journal's stream.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast, get_args

from batchq.common.troubles import BECAUSE, TroubleReason
from batchq.common.words import dollars

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
    "BatchSubmitted",
    "BatchWoken",
    "BudgetNear",
    "Event",
    "LaneStuck",
    "LimitReached",
    "LimitReason",
    "OtherEvent",
    "PromptDead",
    "Reason",
    "StuckReason",
    "TasksRescued",
    "from_json",
    "span",
    "to_json",
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
LimitReason = Literal["no_room", "throttled"]
StuckReason = Literal["no_room", "no_account", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something has happened. ``at`` is when, by Redis's clock.

    ``id`` is its place in the journal's stream; empty in a signal. ``str()`` is a sentence.
    """

    at: datetime
    id: str = field(default="", compare=False)

    @property
    def kind(self) -> str:
        return _KIND_OF[type(self)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfBatch(Event):
    batch: str
    lane: str
    prompts: int

    def _subject(self) -> str:
        return f"batch {self.batch} of lane {self.lane} ({_many(self.prompts, 'prompt')})"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSubmitted(_OfBatch):
    """A batch was created at the provider, as ``provider_id``; ``tokens`` is our estimate."""

    provider_id: str
    tokens: int

    def __str__(self) -> str:
        return f"{self._subject()} is submitted as {self.provider_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended(_OfBatch):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptDead(Event):
    """A task killed its worker ``kills`` times in a row and has failed, or a batch whose steps did
    is set aside: one of ``task_id`` and ``batch`` is empty. ``name`` is the task's or the lane's.

    Where it is for another ``reason``, ``kills`` is 0.
    """

    task_id: str = ""
    batch: str = ""
    name: str
    kills: int
    reason: str = ""

    def __str__(self) -> str:
        retry = f"batchq.retry(app, {self.task_id or self.batch!r}) tries it again"
        if self.reason:
            whose = f"task {self.name} [{self.task_id}]"
            if self.batch:
                whose = f"batch {self.batch} of lane {self.name}"
            return f"{whose} is {self.reason}; {retry}"
        if self.task_id:
            what = f"task {self.name} [{self.task_id}] killed its worker"
        else:
            what = f"steps on batch {self.batch} of lane {self.name} killed their worker"
        return f"{what} {self.kills} times in a row; {retry}"


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
        return (
            f"account {self.account} is paused, because {BECAUSE[self.reason]} ({self.code}); "
            "its prompts wait, and go on by themselves once it is over"
        )


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
        return (
            f"{self.percent} % of the budget of {dollars(self.budget)} for {self.day} is reached: "
            f"{dollars(self.spent)} spent{guess}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStuck(Event):
    """A lane is to be flushed, and its first prompt does not move; it was asked ``oldest`` ago.

    Told once an hour for each lane.
    """

    lane: str
    prompts: int
    tokens: int
    oldest: timedelta
    why: StuckReason

    def __str__(self) -> str:
        return (
            f"lane {self.lane} is stuck, {_WHY_STUCK[self.why]}: "
            f"{_many(self.prompts, 'prompt')}, the oldest for {span(self.oldest)}"
        )


_WHY_STUCK: Mapping[StuckReason, str] = {
    "no_room": "the provider has no room",
    "no_account": "its account is not in the settings",
    "unknown": "nothing flushes it",
}


# Smaller steps, which have no signal


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSealed(_OfBatch):
    """Prompts have left their lane for a batch."""

    tokens: int

    def __str__(self) -> str:
        return f"{_many(self.prompts, 'prompt')} of lane {self.lane} are sealed into {self.batch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChanged(_OfBatch):
    """A poll found another ``status`` of the provider than the one before it."""

    status: str
    completed: int = 0
    failed: int = 0

    def __str__(self) -> str:
        counts = f", {self.completed:,} completed, {self.failed:,} failed"
        return f"{self._subject()} is {self.status}{counts if self.completed + self.failed else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEmptied(_OfBatch):
    """A batch came to nothing before it was created: nobody waits for any of its prompts."""

    def __str__(self) -> str:
        return f"{self._subject()} is dropped: nobody waits for any of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAdopted(_OfBatch):
    """A batch that the journal had lost was found again at the provider."""

    provider_id: str

    def __str__(self) -> str:
        return f"{self._subject()} is found again at the provider, as {self.provider_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWoken(_OfBatch):
    """Rescue found a batch's next step late. ``state`` says which step that is."""

    state: str

    def __str__(self) -> str:
        return f"{self._subject()}, {self.state}, was late and is woken"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountGoesOn(Event):
    """An account that was paused for so long goes on."""

    account: str
    paused_for: timedelta

    def __str__(self) -> str:
        return f"account {self.account} goes on, after a pause of {span(self.paused_for)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksRescued(Event):
    """Rescue sent answered tasks again that nobody had taken on."""

    tasks: int

    def __str__(self) -> str:
        return f"{_many(self.tasks, 'task')} sent again"


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
    "prompt_dead": PromptDead,
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
_KIND_OF: Mapping[type[Event], str] = {record: kind for kind, record in KINDS.items()}


# In words


def span(duration: timedelta) -> str:
    """A length of time in its two largest units: ``2 h 10 min``."""
    left = max(0, round(duration.total_seconds()))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


# As JSON


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
