"""One run of a batched body: what it has asked, what it asks now, which calls are its own."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from billiard.process import current_process

from batchq.callsite import call_site, frames_of_body, other_coroutines, strand
from batchq.errors import PromptTooLarge, RequestChanged, RunEnded, ThreadWithoutRun
from batchq.journal import Claim, Entry
from batchq.prompt import Lane, Outcome, Prompt, estimate_tokens
from batchq.seams import task_stack

if TYPE_CHECKING:
    from batchq.config import Settings

__all__ = [
    "Captured",
    "Question",
    "Run",
    "bypass",
    "current_run",
    "goes_live",
    "live",
    "run_of_call",
    "running",
]

logger = logging.getLogger("batchq.run")


class Captured(BaseException):
    """Ends a body that has asked. Not an Exception, so that ``except Exception`` cannot eat it."""


_current: ContextVar[Run | None] = ContextVar("batchq_run", default=None)
_mode: ContextVar[Literal["batch", "live", "bypass"]] = ContextVar("batchq_mode", default="batch")

_depth: ContextVar[int] = ContextVar("batchq_depth", default=0)
"""How many calls this context (a task of asyncio, a function given to `gather`) has made before."""
_step_calls: ContextVar[list[int] | None] = ContextVar("batchq_step_calls", default=None)
"""The answers that the step under way in this context has read."""

_active: list[Run] = []
_active_lock = threading.Lock()


# One run of a body


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call as a batch line can carry it."""

    account: str
    endpoint: str
    model: str
    body: bytes = field(repr=False)
    fingerprint: str
    inputs: int


@dataclass(eq=False, slots=True, kw_only=True)
class Run:
    """One run of a batched task's body: what the journal knows, what this run asks.

    Calls may come from several threads and coroutines of the body at once. ``by_order`` are the
    answers that a request which has changed may get.
    """

    task_id: str
    task_name: str
    settings: Settings
    claim: Claim = field(repr=False)
    label: str = ""
    strict: bool = False
    note_live: Callable[[Entry], None]
    note_step: Callable[[str, str], None]
    by_order: frozenset[int] = frozenset()
    thread: int = field(default_factory=threading.get_ident)
    others_wait_for_us: bool = False
    ended: bool = False
    asked: list[Prompt] = field(default_factory=list[Prompt])
    used: list[Entry] = field(default_factory=list[Entry])
    _left: list[Entry] = field(init=False, default_factory=list[Entry])
    _live: list[Entry] = field(init=False, default_factory=list[Entry])
    _steps: dict[str, str] = field(init=False, repr=False, default_factory=dict[str, str])
    _steps_taken: dict[str, int] = field(init=False, default_factory=dict[str, int])
    _next_number: int = field(init=False, default=0)
    _threads: dict[int, tuple[FrameType | None, int]] = field(
        init=False, default_factory=dict[int, tuple[FrameType | None, int]]
    )
    _lock: threading.RLock = field(init=False, default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._left = [entry for entry in self.claim.entries if entry.outcome is not None]
        self._steps = dict(self.claim.steps or {})
        self._next_number = self.claim.next_number

    @property
    def next_number(self) -> int:
        return self._next_number

    @property
    def round(self) -> int:
        return 1 + max((entry.round for entry in self.claim.entries), default=-1)

    def ask(self, question: Question) -> Outcome:
        """The recorded outcome of this call; where there is none, it is asked and the body ends."""
        with self._lock:
            depth = self._count_call()
            entry = self._take(lambda entry: entry.fingerprint == question.fingerprint)
            site = "" if entry is not None else f"{call_site()}:{depth}{self._beside()}"
            if entry is None:
                entry = self._take_by_order(question, site)
            if entry is not None and entry.outcome is not None:
                return entry.outcome
            prompt = self._prompt(question, site)
            self._check_size(prompt)
            self.asked.append(prompt)
            self._next_number += 1
        raise Captured

    def again(self) -> Run | None:
        """The run to make in the place of this one, where requests seem to have changed.

        A call that has no equal among the answers is a new one, or an old one that has changed.
        While the body runs nobody can tell: calls side by side come in any order. At its end they
        are told apart: this run asked at a place in the code from which an answer is left unread.
        Calls side by side must have changed all together, each in its own coroutine: a single one
        may only have come first.

        Raises RequestChanged where the questions of a place change from run to run, and it cannot
        be told which answer is whose: to ask on would have no end.
        """
        asked = [(p.lane.endpoint, p.lane.model, p.site) for p in self.asked]
        changed = self._changed(asked)
        by_order = self.by_order | {
            entry.number for entry in self._left if _place(entry) in changed
        }
        if by_order == self.by_order:
            self._must_end(asked)
            return None
        claim = replace(
            self.claim,
            entries=(*self.claim.entries, *self._live),
            steps=self._steps,
            next_number=self._next_number,
        )
        return replace(self, claim=claim, by_order=by_order, ended=False, asked=[], used=[])

    def _changed(self, asked: list[Place]) -> set[Place]:
        """The places where a question of this run stands for one that left its answer there."""
        now, then = _by_group(asked), _by_group(map(_place, self._left))
        read = self._groups_read()
        changed: set[Place] = set()
        for group, places in now.items():
            together = len(set(places)) == len(places) > 1 and sorted(places) == sorted(then[group])
            if together and group not in read:
                changed.update(places)
            changed.update(place for place in places if _BESIDE not in place[2])
        return changed

    def _groups_read(self) -> set[Place]:
        return {_group(_place(entry)) for entry in self.used}

    def _must_end(self, asked: list[Place]) -> None:
        for group in set(map(_group, asked)) - self._groups_read():
            left = [entry for entry in self._left if _group(_place(entry)) == group]
            if len({entry.round for entry in left}) >= _ROUNDS_UNREAD:
                raise RequestChanged(self.task_name, self.task_id, left[0].number, *group[:2])

    def recall(self, question: Question) -> Outcome | None:
        """The recorded outcome of a call that goes live, if it has gone before."""
        with self._lock:
            entry = self._take(lambda entry: entry.fingerprint == question.fingerprint)
            return entry.outcome if entry is not None else None

    def record(self, question: Question, outcome: Outcome) -> None:
        """Write down what a live call brought."""
        with self._lock:
            entry = Entry(
                number=self._next_number,
                endpoint=question.endpoint,
                model=question.model,
                fingerprint=question.fingerprint,
                round=self.round,
                outcome=outcome,
            )
            self._next_number += 1
            self.used.append(entry)
            self._live.append(entry)
            self._read_in_step(entry)
            # Under the lock: the numbers in the journal must not go back.
            self.note_live(entry)

    def step(
        self,
        name: str,
        take: Callable[[], Any],
        encode: Callable[[Any], str],
        decode: Callable[[str], Any],
    ) -> Any:
        """The result of a step that runs once; steps of one name are told apart by their order."""
        with self._lock:
            count = self._steps_taken[name] = self._steps_taken.get(name, 0) + 1
        name = f"{name}#{count}"
        recorded = self._recorded_step(name)
        if recorded is None:
            calls: list[int] = []
            token = _step_calls.set(calls)
            try:
                recorded = encode(take())
            finally:
                _step_calls.reset(token)
            outer = _step_calls.get()
            if outer is not None:
                outer.extend(calls)
            self._steps[name] = f"{json.dumps(calls)}\n{recorded}"
            self.note_step(name, self._steps[name])
        # In the first run too: what JSON makes of it is what all later runs see.
        return decode(recorded)

    def _recorded_step(self, name: str) -> str | None:
        """What a step returned before. The calls inside it count as made."""
        calls, _, recorded = self._steps.get(name, "").partition("\n")
        if not calls:
            return None
        with self._lock:
            known = {entry.number for entry in (*self.claim.entries, *self._live)}
            made = frozenset(json.loads(calls))
            if not known.issuperset(made):
                return None  # A retry has dropped an answer in it as bad: the step runs anew.
            while self._take(lambda entry: entry.number in made) is not None:
                pass
        return recorded

    def _beside(self) -> str:
        """Marks a call beside which the body makes others, in an order that may change."""
        if _current.get() is None or threading.get_ident() != self.thread:
            return _BESIDE
        return f"{_BESIDE}{strand()}" if other_coroutines() else ""

    def _count_call(self) -> int:
        """Which call of its chain this is: of its context, or of what its thread runs."""
        if _current.get() is not None:
            _depth.set(_depth.get() + 1)
            return _depth.get()
        outermost = list(frames_of_body())[-1:]
        frame, depth = self._threads.get(threading.get_ident(), (None, 0))
        depth = depth + 1 if outermost == [frame] else 1
        self._threads[threading.get_ident()] = (outermost[0] if outermost else None, depth)
        return depth

    def _take_by_order(self, question: Question, site: str) -> Entry | None:
        place = (question.endpoint, question.model, site)
        changed = self._take(
            lambda entry: (
                entry.number in self.by_order and (entry.endpoint, entry.model, entry.site) == place
            )
        )
        if changed is None:
            return None
        parts = (self.task_name, self.task_id, changed.number, question.endpoint, question.model)
        if self.strict:
            raise RequestChanged(*parts)
        logger.warning(
            "%s Set strict=True to make this an error.",
            RequestChanged(*parts),
            extra={"action": "resume", "task_id": self.task_id},
        )
        return changed

    def _take(self, wanted: Callable[[Entry], bool]) -> Entry | None:
        for entry in self._left:
            if wanted(entry):
                self._left.remove(entry)
                self.used.append(entry)
                self._read_in_step(entry)
                return entry
        return None

    def _read_in_step(self, entry: Entry) -> None:
        calls = _step_calls.get()
        if calls is not None:
            calls.append(entry.number)

    def _prompt(self, question: Question, site: str) -> Prompt:
        lane = Lane(
            account=question.account,
            endpoint=question.endpoint,
            model=question.model,
            label=self.label,
        )
        return Prompt(
            task_id=self.task_id,
            number=self._next_number,
            lane=lane,
            body=question.body,
            fingerprint=question.fingerprint,
            tokens=estimate_tokens(question.body),
            inputs=question.inputs,
            round=self.round,
            site=site,
        )

    def _check_size(self, prompt: Prompt) -> None:
        limits = self.settings.accounts[prompt.lane.account].limits
        endpoint = prompt.lane.endpoint
        if prompt.size > limits.bytes:
            raise PromptTooLarge(self.task_name, endpoint, "bytes", prompt.size, limits.bytes)
        if prompt.inputs > limits.embedding_inputs:
            raise PromptTooLarge(
                self.task_name, endpoint, "inputs", prompt.inputs, limits.embedding_inputs
            )

    def ask_again(self, error: BaseException) -> list[int]:
        """The calls whose answers a retry drops, where ``error`` says that an answer was bad.

        Outcomes that were errors themselves; where all were good, those of the last round the
        body read: it had been content with the earlier ones, or it would not have asked on.
        """
        failed = [e.number for e in self.used if e.outcome is not None and not e.outcome.succeeded]
        if failed and _is_http_error(error):
            return failed
        last = max((entry.round for entry in self.used), default=0)
        return [
            entry.number for entry in self.used if entry.round == last or entry.number in failed
        ]


_BESIDE = "&"
_ROUNDS_UNREAD = 4
"""How many rounds of answers of one place may be left unread before its body counts as endless."""


Place = tuple[str, str, str]
"""Where a body asks: endpoint, model, and the place in its code."""


def _place(entry: Entry) -> Place:
    return entry.endpoint, entry.model, entry.site


def _group(place: Place) -> Place:
    """A place with all that is beside it: the same line of code, in other coroutines or threads."""
    endpoint, model, site = place
    return endpoint, model, site.partition(_BESIDE)[0]


def _by_group(places: Iterable[Place]) -> defaultdict[Place, list[Place]]:
    groups: defaultdict[Place, list[Place]] = defaultdict(list)
    for place in places:
        groups[_group(place)].append(place)
    return groups


def _is_http_error(error: BaseException) -> bool:
    return getattr(error, "status_code", None) is not None


# Which run a call belongs to


@contextmanager
def running(run: Run) -> Generator[None]:
    """Within it, calls of this context belong to ``run``."""
    token = _current.set(run)
    mode = _mode.set("batch")
    depth = _depth.set(0)
    with _active_lock:
        _active.append(run)
    try:
        yield
    finally:
        run.ended = True
        with _active_lock:
            _active.remove(run)
        _depth.reset(depth)
        _mode.reset(mode)
        _current.reset(token)


def current_run() -> Run | None:
    """The run that this context belongs to, if any."""
    return _current.get()


@contextmanager
def live() -> Generator[None]:
    """Within it, calls go to the live API now, at the live price.

    Inside a batched body their answers are journaled, so a replay does not pay for them again.
    """
    token = _mode.set("live")
    try:
        yield
    finally:
        _mode.reset(token)


@contextmanager
def bypass() -> Generator[None]:
    """Within it, calls are not looked at: for our own calls of the Batch API."""
    token = _mode.set("bypass")
    try:
        yield
    finally:
        _mode.reset(token)


def goes_live() -> bool:
    """True inside ``with live():``."""
    return _mode.get() == "live"


def run_of_call(path: str) -> Run | None:
    """The run a call made here belongs to; None where it is not ours to touch.

    Raises ThreadWithoutRun or RunEnded where that cannot be told: no call goes live by accident.
    """
    run = _current.get()
    if (run is None and not _active) or _mode.get() == "bypass":
        return None
    if run is None:
        return _run_of_thread(path)
    if run.ended:
        raise RunEnded(run.task_name, run.task_id, path)
    return run


def _run_of_thread(path: str) -> Run | None:
    """A thread that carries no context: it works for the one batched task of this process."""
    if task_stack():
        return None  # This thread runs a Celery task of its own, which is not batched.
    with _active_lock:
        runs = list(_active)
    if not runs:
        return None
    if len(runs) > 1 or _tasks_beside(len(runs)):
        raise ThreadWithoutRun(path, len(runs))
    return runs[0]


def _tasks_beside(batched: int) -> bool:
    """True where this process runs other tasks beside the batched ones (Celery's threads pool)."""
    state = sys.modules.get("celery.worker.state")
    # A forked pool process has a stale copy of its parent's list, and runs one task at a time.
    in_main = current_process().name == "MainProcess"
    return state is not None and in_main and len(state.active_requests) > batched
