"""What the Batches page shows: rows of lanes and batches, chosen, sorted, cut into pages. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from statistics import median
from typing import Any

from batchq.decide.flush import NextFlush, next_flush
from batchq.flower.show import duration
from batchq.journal import BatchRecord, LaneRecord, Sums
from batchq.money.cost import Cost
from batchq.overview import Dead, Status
from batchq.prompt import Lane
from batchq.settings.record import Settings

__all__ = [
    "COLUMNS",
    "LANE_COLUMNS",
    "BatchRow",
    "Choice",
    "Chosen",
    "Expected",
    "LaneRow",
    "Snapshot",
    "choose",
    "expected_end",
    "lane_rows",
    "state_of",
    "turnarounds_of",
]

HISTORY = 200
"""Of how many of its last batches the expected end in a lane is made."""

_OVER = frozenset({"finished", "closed"})


# A batch


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """One batch as the page shows it. ``cost`` is None while nothing of it is billed."""

    record: BatchRecord
    state: str
    tasks: tuple[str, ...]
    cost: Cost | None

    @classmethod
    def of(cls, record: BatchRecord) -> BatchRow:
        return cls(
            record=record,
            state=state_of(record),
            tasks=tuple(record.task_names),
            cost=_cost_of(record),
        )

    @property
    def is_open(self) -> bool:
        return self.record.state != "closed"

    @property
    def may_be_cancelled(self) -> bool:
        return self.record.state not in _OVER and not self.record.cancel_at

    @property
    def done(self) -> float:
        """The share of its prompts that the provider is through with."""
        return self._share(self.record.completed + self.record.failed)

    @property
    def failed(self) -> float:
        """The share of them that failed."""
        return self._share(self.record.failed)

    @property
    def tokens(self) -> int:
        """What its answers used; the estimate of its input until they are read."""
        used = self.record.input_tokens + self.record.output_tokens
        return used if self.cost is not None else self.record.tokens

    def _share(self, part: int) -> float:
        return min(1.0, part / self.record.lines) if self.record.lines else 0.0


def state_of(batch: BatchRecord) -> str:
    """Where a batch is, in one word or two: ours until it is sent, then the provider's."""
    if batch.state == "closed":
        return batch.status or "closed"
    if batch.dead_at:
        return "set aside"
    if batch.state == "finished":
        return "fetching"
    if batch.cancel_at:
        return "cancelling"
    return batch.status or batch.state


def _cost_of(batch: BatchRecord) -> Cost | None:
    return Cost.of(batch) if batch.state == "closed" else None


# When a batch will end


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """When a batch is expected to end, in Redis's milliseconds (0: nobody can say).

    ``short`` says in a few words what that rests on, ``why`` in a sentence.
    """

    at: int = 0
    short: str
    why: str


def turnarounds_of(rows: Iterable[BatchRow]) -> dict[Lane, tuple[int, ...]]:
    """Milliseconds that the last batches of each lane took, sorted; the rows come newest first."""
    found: dict[Lane, list[int]] = {}
    for row in rows:
        took = row.record.turnaround
        if took is not None and row.record.status == "completed":
            of_lane = found.setdefault(row.record.lane, [])
            if len(of_lane) < HISTORY:
                of_lane.append(round(took.total_seconds() * 1000))
    return {lane: tuple(sorted(times)) for lane, times in found.items()}


def expected_end(batch: BatchRecord, turnarounds: Sequence[int], now: int) -> Expected:
    """When a batch ends, going by its lane: the median of those that took longer than it has."""
    if batch.state in _OVER:
        return Expected(short="being read", why="It has ended; its answers are being read.")
    if not turnarounds:
        return Expected(short="no history yet", why="No batch of this lane has completed yet.")
    count = len(turnarounds)
    batches = "the one batch" if count == 1 else f"{count:,} batches"
    if not batch.submitted_at:
        span = duration(median(turnarounds))
        why = f"The median of {batches} of this lane before it, once it is sent."
        return Expected(short=f"{span} once sent", why=why)
    longer = turnarounds[bisect_right(turnarounds, now - batch.submitted_at) :]
    if not longer:
        why = f"It takes longer than {batches} of this lane before it."
        return Expected(short=f"longer than {batches}", why=why)
    why = f"The median of {batches} of this lane before it."
    if len(longer) < count:
        why = f"The median of {len(longer):,} of {batches} of this lane: those that took longer."
    at = batch.submitted_at + round(median(longer))
    return Expected(at=at, short=f"median of {len(longer):,}", why=why)


# A lane


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """One lane as the page shows it. Times are Redis's milliseconds; 0 is none.

    ``batches`` are open and have ``batched`` prompts; ``typical`` is the median of what ``ended``
    batches took.
    """

    lane: Lane
    prompts: int
    bytes: int
    tokens: int
    oldest_at: int
    held: bool
    next: NextFlush
    due_at: int
    batches: int
    batched: int
    ended: int
    typical: timedelta | None
    sums: Sums

    @property
    def is_idle(self) -> bool:
        return not (self.prompts or self.batches or self.held)


def lane_rows(
    *,
    waiting: Iterable[LaneRecord],
    held: Iterable[Lane],
    sums: Mapping[Lane, Sums],
    batches: Iterable[BatchRecord],
    turnarounds: Mapping[Lane, Sequence[int]],
    settings: Settings,
    now: int,
) -> list[LaneRow]:
    """All lanes there is something to say of: where prompts wait first, then by their names."""
    records = {record.lane: record for record in waiting}
    held = frozenset(held)
    open_batches: Counter[Lane] = Counter()
    batched: Counter[Lane] = Counter()
    for batch in batches:
        open_batches[batch.lane] += 1
        batched[batch.lane] += batch.lines
    rows: list[LaneRow] = []
    for lane in {*records, *held, *sums, *open_batches}:
        record = records.get(lane) or _empty(lane, held=lane in held)
        following = next_flush(record, settings)
        took = turnarounds.get(lane, ())
        row = LaneRow(
            lane=lane,
            prompts=record.prompts,
            bytes=record.bytes,
            tokens=record.tokens,
            oldest_at=_second(now - _milliseconds(record.oldest)) if record.prompts else 0,
            held=record.held,
            next=following,
            due_at=0
            if following.due_in is None
            else _second(now + _milliseconds(following.due_in)),
            batches=open_batches[lane],
            batched=batched[lane],
            ended=len(took),
            typical=timedelta(milliseconds=round(median(took))) if took else None,
            sums=sums.get(lane, Sums()),
        )
        rows.append(row)
    return sorted(rows, key=lambda row: (row.is_idle, not row.prompts, row.lane.name))


def _empty(lane: Lane, *, held: bool) -> LaneRecord:
    return LaneRecord(lane=lane, prompts=0, bytes=0, tokens=0, oldest=timedelta(0), held=held)


def _milliseconds(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)


def _second(milliseconds: int) -> int:
    # Two readings of the same moment differ by a little; nobody wants to be told.
    return round(milliseconds / 1000) * 1000


# What is chosen of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that the page shows, as of ``now`` (Redis's milliseconds). Batches are newest first;
    ``unread`` older ones come with the next readings.
    """

    now: int
    status: Status
    today: Sums
    lanes: tuple[LaneRow, ...]
    batches: tuple[BatchRow, ...]
    turnarounds: Mapping[Lane, Sequence[int]] = field(repr=False)
    dead: tuple[Dead, ...] = ()
    unread: int = 0

    def expected(self, row: BatchRow) -> Expected:
        return expected_end(row.record, self.turnarounds.get(row.record.lane, ()), self.now)


PAGE = 50
_MOST = 200

Key = Callable[[Snapshot, BatchRow], Any]


def _end(snapshot: Snapshot, row: BatchRow) -> float:
    if not row.is_open:
        return row.record.finished_at or row.record.closed_at
    return snapshot.expected(row).at or math.inf


COLUMNS: dict[str, Key] = {
    "age": lambda _, row: -row.record.sealed_at,
    "lane": lambda _, row: row.record.lane.name,
    "state": lambda _, row: row.state,
    "done": lambda _, row: row.done,
    "end": _end,
    "prompts": lambda _, row: row.record.lines,
    "tokens": lambda _, row: row.tokens,
    "cost": lambda _, row: row.cost.batch if row.cost else -1,
    "saved": lambda _, row: row.cost.saved if row.cost else -math.inf,
}
"""What batches can be sorted by."""


LANE_COLUMNS: dict[str, Callable[[LaneRow], Any]] = {
    "lane": lambda row: row.lane.name,
    "prompts": lambda row: row.prompts,
    "oldest": lambda row: -row.oldest_at or -math.inf,
    "tokens": lambda row: row.tokens,
    "next": lambda row: row.due_at or math.inf,
    "batched": lambda row: row.batched,
    "cost": lambda row: row.sums.cost,
    "saved": lambda row: row.sums.saved,
}
"""What lanes can be sorted by; else those where something waits come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which batches a page shows: what stands in its address. Empty is all."""

    state: str = ""
    lane: str = ""
    task: str = ""
    account: str = ""
    find: str = ""
    sort: str = "age"
    page: int = 1
    size: int = PAGE
    lanes: str = ""
    idle: str = ""

    @classmethod
    def of(cls, arguments: Callable[[str], str]) -> Choice:
        """Read from an address; what makes no sense there is as if it were not."""
        sort, lanes = arguments("sort"), arguments("lanes")
        return cls(
            **{name: arguments(name).strip() for name in _TEXTS},
            sort=sort if sort.removeprefix("-") in COLUMNS else "age",
            page=_number(arguments("page"), 1, least=1),
            size=_number(arguments("size"), PAGE, least=1, most=_MOST),
            lanes=lanes if lanes.removeprefix("-") in LANE_COLUMNS else "",
        )

    def query(self, **changes: Any) -> dict[str, str]:
        """What to write into an address; another choice begins at its first page."""
        other = replace(self, **({"page": 1} | changes))
        plain = Choice()
        known = {name: getattr(other, name) for name in self.__annotations__}
        return {n: str(value) for n, value in known.items() if value != getattr(plain, n)}

    def takes_lane(self, row: LaneRow) -> bool:
        """Whether a lane is one of these; one that rests only where it, or all, are asked for."""
        if self.lane:
            return row.lane.name == self.lane
        wanted = not self.account or row.lane.account == self.account
        return wanted and (bool(self.idle) or not row.is_idle)

    def takes(self, row: BatchRow) -> bool:
        """Whether a batch is one of these, whatever its state."""
        lane, record = row.record.lane, row.record
        return (
            (not self.lane or lane.name == self.lane)
            and (not self.account or lane.account == self.account)
            and (not self.task or self.task in row.tasks)
            and (not self.find or self.find in record.id or self.find in record.provider_id)
        )

    def is_in_state(self, row: BatchRow) -> bool:
        if self.state in {"", "open"}:
            return not self.state or row.is_open
        return row.state == self.state


_TEXTS = ("state", "lane", "task", "account", "find", "idle")


def _number(text: str, otherwise: int, *, least: int, most: int = 10**9) -> int:
    # isdecimal() alone would let Arabic digits through, which is harmless, and "²", which is not.
    known = text.isascii() and text.isdecimal() and len(text) < 10
    return min(max(int(text), least), most) if known else otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One page of batches, and what else could be chosen.

    ``states`` counts those that all but the choice of a state leaves, by state; ``resting`` are
    lanes that are not shown, for nothing is in them.
    """

    rows: tuple[BatchRow, ...]
    resting: int
    lane_rows: tuple[LaneRow, ...]
    count: int
    page: int
    pages: int
    states: Mapping[str, int]
    lanes: tuple[str, ...]
    tasks: tuple[str, ...]
    accounts: tuple[str, ...]


def choose(snapshot: Snapshot, choice: Choice) -> Chosen:
    """The batches of a choice; a page beyond the last one is the last one."""
    left = [row for row in snapshot.batches if choice.takes(row)]
    states = Counter(row.state for row in left)
    states["open"] = sum(row.is_open for row in left)
    rows = [row for row in left if choice.is_in_state(row)]
    key = COLUMNS[choice.sort.removeprefix("-")]
    rows.sort(key=lambda row: key(snapshot, row), reverse=choice.sort.startswith("-"))
    lanes = [row for row in snapshot.lanes if choice.takes_lane(row)]
    if choice.lanes:
        by = LANE_COLUMNS[choice.lanes.removeprefix("-")]
        lanes.sort(key=by, reverse=choice.lanes.startswith("-"))
    pages = max(1, math.ceil(len(rows) / choice.size))
    page = min(choice.page, pages)
    start = (page - 1) * choice.size
    return Chosen(
        lane_rows=tuple(lanes),
        resting=sum(row.is_idle for row in snapshot.lanes) - sum(row.is_idle for row in lanes),
        rows=tuple(rows[start : start + choice.size]),
        count=len(rows),
        page=page,
        pages=pages,
        states=states,
        lanes=tuple(sorted({row.record.lane.name for row in snapshot.batches})),
        tasks=tuple(sorted({task for row in snapshot.batches for task in row.tasks})),
        accounts=tuple(sorted({row.record.lane.account for row in snapshot.batches})),
    )
