"""One run of a batched body: what it has asked, what it asks now, which calls are its own."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from batchq.capture.asker import Asked, Asker, caller_here
from batchq.capture.callsite import call_site, other_coroutines
from batchq.capture.endless import end_this_process
from batchq.common.own_calls import is_bypassed
from batchq.common.seams.tasks import task_stack
from batchq.errors import (
    KnownRefusal,
    NotBatchable,
    PromptTooLarge,
    RunEnded,
    ThreadWithoutRun,
)
from batchq.journal import Claim, Entry
from batchq.prompt import Lane, Outcome, Prompt, estimate_tokens

if TYPE_CHECKING:
    from batchq.settings.record import Settings

__all__ = [
    "Captured",
    "OnChanged",
    "Question",
    "Run",
    "Scope",
    "current_run",
    "goes_live",
    "live",
    "mark_home",
    "new_asker",
    "note_that_bodies_run_here",
    "run_of_call",
    "running",
]

logger = logging.getLogger("batchq.run")

OnChanged = Literal["ask", "by_order"]
"""What a request gets that has no equal among the answers: it is asked, or it gets the first answer
from its place in the code that nobody has read.
"""


class Captured(BaseException):
    """Ends a body that has asked. Not an Exception, so that ``except Exception`` cannot eat it."""


Mode = Literal["batch", "live"]


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
    refused: KnownRefusal | None = None
    """Why it would fail in its batch. Its answer, where there is one, is good all the same."""


@dataclass(eq=False, slots=True, kw_only=True)
class Run:
    """One run of a batched task's body: what the journal knows, what this run asks.

    Calls may come from several threads and coroutines of the body at once. ``asked`` are its new
    questions, ``used`` the answers it has read.
    """

    task_id: str
    task_name: str
    settings: Settings
    claim: Claim = field(repr=False)
    label: str = ""
    strict: bool = False
    on_changed: OnChanged = "ask"
    note_live: Callable[[Entry], None]
    note_step: Callable[[str, str], None]
    others_wait_for_us: bool = False
    ended: bool = False
    asked: list[Prompt] = field(default_factory=list[Prompt])
    used: list[Entry] = field(default_factory=list[Entry])
    _left: list[Entry] = field(init=False, default_factory=list[Entry])
    places: dict[str, str] = field(init=False, default_factory=dict[str, str])
    """The place of each call site that has asked, for people to read."""
    pools: dict[int, Any] = field(init=False, repr=False, default_factory=dict[int, Any])
    """What calls of one pool of threads share; `batchq.capture.threads` has it."""
    process: int = field(init=False, default_factory=os.getpid)
    _live: list[Entry] = field(init=False, default_factory=list[Entry])
    _steps: dict[str, str] = field(init=False, repr=False, default_factory=dict[str, str])
    _steps_taken: dict[str, int] = field(init=False, default_factory=dict[str, int])
    _next_number: int = field(init=False, default=0)
    _asked: defaultdict[str, list[Asked]] = field(
        init=False, repr=False, default_factory=lambda: defaultdict(list)
    )
    _repeated: Counter[str] = field(init=False, default_factory=Counter[str])
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

    @property
    def read(self) -> frozenset[int]:
        """The calls whose answers this run, or one before it, has read."""
        return self.claim.read.union(entry.number for entry in self.used)

    def ask(self, question: Question) -> Outcome:
        """The recorded outcome of an equal call; where there is none, it is asked, once for each
        time that the body asks it, and the body ends.
        """
        with self._lock:
            entry = self._take_equal(question)
            if entry is None and self.on_changed == "by_order" and _is_in_order():
                entry = self._take_by_order(question)
            if entry is not None and entry.outcome is not None:
                return entry.outcome
            if question.refused is not None:
                raise question.refused
            again = self._is_asked_again(question)
            if not again:
                self._ask(question)
        if again:
            self._tell_repeat(question)
        raise Captured

    def _ask(self, question: Question) -> None:
        site = call_site()
        prompt = self._prompt(question, site.key)
        self._check_size(prompt)
        self.places[site.key] = site.place
        self.asked.append(prompt)
        self._next_number += 1

    def _is_asked_again(self, question: Question) -> bool:
        """True where a body asks once more what it was told to wait for: a signal swallowed by a
        loop that tries again. Equal calls side by side are questions of their own.
        """
        me, asked = caller_here(_here.get().asker), self._asked[question.fingerprint]
        if me is None:
            return False
        if any(one.is_answered_to(me) for one in asked):
            return True
        asked.append(Asked(me))
        return False

    def _tell_repeat(self, question: Question) -> None:
        self._repeated[question.fingerprint] += 1
        times = self._repeated[question.fingerprint]
        if times < _TOLD_FROM:
            return
        # Each time would fill the log; at 10, 20, 40 ... it is seen as well.
        if times % _TOLD_FROM == 0 and (times // _TOLD_FROM).bit_count() == 1:
            logger.error(
                "task %s [%s] has asked the same question %d times in one run, at %s, though it is "
                "captured and its answer is still to come: something in the body swallows the "
                "signal that ends it and tries again. Let `except Exception` catch errors there, "
                "not a bare `except` or BaseException, and let retries be of errors only",
                *(self.task_name, self.task_id, times, call_site().place),
                extra={"action": "capture", "task_id": self.task_id},
            )
        if times >= _ENDED_AT:
            end_this_process(self.task_name, self.task_id, times)

    def recall(self, question: Question) -> Outcome | None:
        """The recorded outcome of a call that goes live, if it has gone before."""
        with self._lock:
            entry = self._take_equal(question)
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
                account=question.account,
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
            with _here_with(step_calls=calls):
                recorded = encode(take())
            outer = _here.get().step_calls
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

    def _take_equal(self, question: Question) -> Entry | None:
        return self._take(
            lambda entry: (
                entry.fingerprint == question.fingerprint
                and entry.account in {None, question.account}
            )
        )

    def _take_by_order(self, question: Question) -> Entry | None:
        site = call_site()
        changed = self._take(
            lambda entry: (
                (entry.endpoint, entry.model, entry.site)
                == (question.endpoint, question.model, site.key)
            )
        )
        if changed is not None:
            logger.warning(
                "task %s [%s] asks %s (%s) otherwise than before, at %s, and gets the answer to "
                "its call %d, as on_changed='by_order' says",
                *(self.task_name, self.task_id, question.endpoint, question.model),
                *(site.place, changed.number),
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
        calls = _here.get().step_calls
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


_TOLD_FROM = 10
"""From which repeat of one question on a body counts as one that swallows its signal."""
_ENDED_AT = 100
"""At which repeat such a body is ended."""


def _is_http_error(error: BaseException) -> bool:
    return getattr(error, "status_code", None) is not None


# Which run a call belongs to


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a context belongs to: a run of a body, a task that is not batched, what the main thread
    does on its own (``at_home``), or nothing.

    It is carried into threads: one that works for a body makes the body's calls, whoever has
    started it, and whenever. ``step_calls`` are the answers that the `once` under way has read.
    """

    run: Run | None = None
    mode: Mode = "batch"
    asker: Asker | None = None
    step_calls: list[int] | None = None
    of_plain_task: bool = False
    at_home: bool = False

    @classmethod
    def to_carry(cls) -> Scope | None:
        """The scope of this context, for a thread that starts here; None where there is none."""
        scope = _here.get()
        if scope.run is None and not scope.of_plain_task and task_stack():
            scope = replace(scope, of_plain_task=True)
        return None if scope in (_NOWHERE, _HOME) else scope

    @classmethod
    def to_hand_over(cls) -> Scope | None:
        """The same for work that is given to a pool. What the main thread does outside of any task
        is known for that while it is handed over; a thread that it starts may serve anybody later.
        """
        scope = cls.to_carry()
        return _HOME if scope is None and (_here.get() == _HOME or _is_main_thread()) else scope

    @contextmanager
    def entered(self, asker: Asker) -> Generator[None]:
        """Within it, this context belongs to what the scope belongs to."""
        token = _here.set(replace(self, asker=asker))
        try:
            yield
        finally:
            _here.reset(token)


_NOWHERE, _HOME = Scope(), Scope(at_home=True)
_here: ContextVar[Scope] = ContextVar("batchq_scope", default=_NOWHERE)


def _is_in_order() -> bool:
    """False beside other calls of the body, which come in any order."""
    asker = _here.get().asker
    return asker is not None and asker.parent is None and not other_coroutines()


def mark_home() -> None:
    """Let contexts that are copied from that of the main thread be known from a bare thread's."""
    if _is_main_thread() and _here.get() == _NOWHERE:
        _here.set(_HOME)


def new_asker() -> Asker:
    """One that begins to ask here and now, on behalf of whoever runs here."""
    return Asker(parent=caller_here(_here.get().asker))


@contextmanager
def _here_with(**changes: Any) -> Generator[None]:
    token = _here.set(replace(_here.get(), **changes))
    try:
        yield
    finally:
        _here.reset(token)


@contextmanager
def running(run: Run) -> Generator[None]:
    """Within it, calls of this context belong to ``run``."""
    with Scope(run=run).entered(Asker()):
        try:
            yield
        finally:
            run.ended = True


def current_run() -> Run | None:
    """The run that this context belongs to, if any."""
    return _here.get().run


@contextmanager
def live() -> Generator[None]:
    """Within it, calls go to the live API now, at the live price.

    Inside a batched body their answers are journaled, so a replay does not pay for them again.
    """
    with _here_with(mode="live"):
        yield


def goes_live() -> bool:
    """True inside ``with live():``."""
    return _here.get().mode == "live"


def run_of_call(path: str) -> Run | None:
    """The run a call made here belongs to; None where it is not ours to touch.

    Raises ThreadWithoutRun or RunEnded where that cannot be told: no call goes live by accident.
    """
    if is_bypassed():
        return None
    scope = _here.get()
    run = scope.run
    if run is None:
        if _runs_bodies and scope == _NOWHERE:
            _refuse_a_stray_thread(path)
        return None
    if run.ended:
        raise RunEnded(run.task_name, run.task_id, path)
    if run.process != os.getpid():
        reason = "it is made in another process than its body, which would never hear of it"
        raise NotBatchable(run.task_name, path, reason)
    return run


_runs_bodies = False


def note_that_bodies_run_here() -> None:
    """From now on a call of a thread that belongs to nobody is refused in this process."""
    global _runs_bodies  # noqa: PLW0603 a fact about the process
    _runs_bodies = True


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _refuse_a_stray_thread(path: str) -> None:
    """A thread that neither a body nor another task has started: whose call it is nobody knows."""
    if _is_main_thread():
        return  # Nothing that outlives a body runs here.
    if task_stack():
        return  # A Celery task that is not batched.
    raise ThreadWithoutRun(path)
