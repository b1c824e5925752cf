"""What happened to each task, by what the tasks told. Pure, so that it can be tested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.events import Event
from tests.chaos.fleet import Disturbance

_AROUND = 30.0
"""Seconds after a kill of Redis in which what was under way may still suffer from it: Celery tries
to store a result for about 20."""


@dataclass(slots=True)
class Run:
    """One run of a body: how far it came. Times are 0 where it did not."""

    number: int
    pid: int
    begun: float
    parked: float = 0
    returned: float = 0
    settled: float = 0

    @property
    def over(self) -> float:
        return self.parked or self.settled

    @property
    def ended(self) -> bool:
        """True where it brought a result; one whose task was another's by then is parked."""
        return bool(self.returned) and not self.parked


@dataclass
class Books:
    """All that was told, by task."""

    sent: dict[int, float] = field(default_factory=dict[int, float])
    begun: set[int] = field(default_factory=set[int])
    returned: dict[int, float] = field(default_factory=dict[int, float])
    runs: dict[int, list[Run]] = field(default_factory=lambda: defaultdict(list))
    succeeded: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    linked: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    steps: list[float] = field(default_factory=list[float])
    """When a run came to its end, which it does not without Redis."""

    @property
    def progress(self) -> int:
        return len(self.begun) + len(self.returned)

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            self._add(event)

    def _add(self, event: Event) -> None:
        number = event.number
        match event.word:
            case "sent":
                self.sent.setdefault(number, event.at)
            case "begun":
                self.begun.add(number)
                self.runs[number].append(Run(number, event.pid, event.at))
            case "succeeded":
                self.succeeded[number] += 1
            case "linked":
                self.linked[number] += 1
            case word:
                self._goes_on(word, event)

    def _goes_on(self, word: str, event: Event) -> None:
        runs = [run for run in self.runs[event.number] if run.pid == event.pid]
        open_runs = [run for run in runs if not getattr(run, word)]
        if open_runs:
            setattr(open_runs[-1], word, event.at)
        if word == "returned":
            self.returned.setdefault(event.number, event.at)
        else:
            self.steps.append(event.at)


@dataclass(frozen=True, slots=True)
class Repeats:
    """Tasks whose body returned more than once.

    ``cut`` were cut off before their end was written down (a kill, a pause, a Redis that was away),
    and run again: at least once, as Celery with acks_late promises. ``twice`` had ended for good.
    """

    cut: tuple[int, ...]
    twice: tuple[int, ...]


def repeats(books: Books, disturbances: Sequence[Disturbance], *, plain: set[int]) -> Repeats:
    cut: list[int] = []
    twice: list[int] = []
    for number, runs in books.runs.items():
        ended = [run for run in runs if run.ended]
        if len(ended) < 2:
            continue
        whole = [run for run in ended if not was_cut(run, disturbances)]
        (cut if number in plain or len(whole) < 2 else twice).append(number)
    return Repeats(tuple(sorted(cut)), tuple(sorted(twice)))


def cut_off(books: Books, disturbances: Sequence[Disturbance]) -> set[int]:
    """The tasks with a run that had its result and may not have come to its end."""
    return {
        number
        for number, runs in books.runs.items()
        if any(run.ended and was_cut(run, disturbances) for run in runs)
    }


def was_cut(run: Run, disturbances: Sequence[Disturbance]) -> bool:
    """True where something kept a run from writing down that it had ended."""
    until = run.settled or run.returned + _AROUND
    for disturbance in disturbances:
        if disturbance.hit(run.pid, since=run.begun, until=until):
            return True
        redis = disturbance.decision.target == "valkey"
        if redis and disturbance.at <= until and run.returned - 1 <= disturbance.until:
            return True
    return False


def orphans(books: Books, disturbances: Sequence[Disturbance]) -> list[float]:
    """For each run that was killed: how long until its task was begun again."""
    waits: list[float] = []
    for runs in books.runs.values():
        for run, following in pairwise(runs):
            killed = [
                one.at
                for one in disturbances
                if one.decision.how == "kill"
                and run.pid in one.pids
                and run.begun <= one.at
                and not (run.over and run.over <= one.at)
            ]
            if killed and following.begun > killed[0]:
                waits.append(following.begun - killed[0])
    return sorted(waits)


def standstills(books: Books, disturbances: Sequence[Disturbance]) -> dict[str, tuple[int, float]]:
    """By what was done to whom: how often, and the longest time from there to the next progress.

    From a disturbed Redis, what is answered once it is back.
    """
    steps = sorted(books.steps)
    longest: dict[str, tuple[int, float]] = {}
    for one in disturbances:
        decision = one.decision
        since = one.until if decision.target == "valkey" else one.at
        after = next((step for step in steps if step > since), since)
        name = f"{decision.target} {decision.how}"
        count, worst = longest.get(name, (0, 0.0))
        longest[name] = (count + 1, max(worst, after - one.at))
    return longest


def times_to_resolve(books: Books) -> list[float]:
    return sorted(
        at - books.sent[number] for number, at in books.returned.items() if number in books.sent
    )


def percentile(values: Sequence[float], part: float) -> float:
    return values[min(len(values) - 1, int(len(values) * part))] if values else 0.0
