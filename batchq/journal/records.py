"""What the journal tells of runs, lanes and batches: frozen records."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from batchq.common.troubles import BECAUSE, TroubleReason
from batchq.prompt import Lane, Outcome

__all__ = [
    "KILLS",
    "TURNAROUNDS",
    "AccountPause",
    "BatchRecord",
    "CallRecord",
    "Claim",
    "Entry",
    "Epoch",
    "LaneRecord",
    "LongRun",
    "OnItsWay",
    "OwnError",
    "PromptRecord",
    "Receipt",
    "Revocation",
    "Sample",
    "Search",
    "Sums",
    "TaskRecord",
    "Waited",
    "Walk",
    "error_code",
]

KILLS = 3
"""How often in a row a task's run, or a step on a batch, may take its worker along."""

TURNAROUNDS = (60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400)
"""Seconds: the upper ends of the classes in which batches are counted by their turnaround."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call of a body as the journal has it. ``outcome`` is None while it is out."""

    number: int
    endpoint: str
    model: str
    fingerprint: str
    round: int
    outcome: Outcome | None
    site: str = ""
    account: str | None = None

    @property
    def went_live(self) -> bool:
        return self.account == ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The answer to a run that asks to begin: whether it may, and what its task knows already.

    ``read`` are the calls whose answers a run before has read.
    """

    word: Literal["CLAIMED", "BUSY", "ENDING", "WAITING", "REVOKED", "DONE", "DEAD"]
    entries: tuple[Entry, ...] = ()
    steps: Mapping[str, str] | None = field(default=None, repr=False)
    next_number: int = 0
    trace: str = ""
    waited: Waited | None = None
    read: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRun:
    """A body that runs for long, of the task ``name``; ``began_at`` is a time of Redis's clock."""

    task_id: str
    name: str
    began_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """The wait that a run has ended, of a task that is traced. ``lanes`` are names with models,
    ``batches`` those that brought the answers, as far as is known, and ``attempts`` how many
    batches a prompt went through, at the most. ``answered_at`` is 0 where it is not known.
    """

    asked_at: int
    answered_at: int
    prompts: int
    lanes: Mapping[str, str]
    batches: tuple[str, ...]
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How far a walk past the waiting and resuming tasks has come; not under way without
    ``through``.
    """

    began_at: int
    through: Literal["waiting", "resuming", ""] = ""
    cursor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """Which journal this is. ``former`` are those that stood here before and were lost, each with
    when that was found out; ``lost`` is true where this process has found it out just now.
    """

    id: str
    former: Mapping[str, int]
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The last look through an account for batches that the journal has lost; ``of`` says for
    which journal on which start of its server, ``looks`` how often.
    """

    of: str = ""
    looks: int = 0
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What became of a revoke; with the word REVOKED, the task's own message."""

    word: str
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPause:
    """Why nothing more of an account is sent: ``code`` is the provider's, ``met_in`` the call that
    it refused, or ``file`` or ``rows``.

    It has ``lasted`` since ``since`` (Redis's milliseconds), and ``tries`` times in a row the same
    was met. After ``next_try`` a small batch tries whether it is over; while one is out, ``probe``
    is its id. ``lane`` is the one that met it last.
    """

    account: str
    reason: TroubleReason
    code: str
    met_in: str
    since: int
    tries: int
    lasted: timedelta
    next_try: timedelta
    lane: str = ""
    probe: str = ""

    @property
    def because(self) -> str:
        return f"{BECAUSE[self.reason]} ({self.code})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRecord:
    """What waits in one lane. ``oldest`` is how long its first prompt has waited.

    ``held`` is what an operator has said; ``paused`` is for how long the provider has no room for
    it; ``called`` is how long ago all that waited in it was to be flushed (None: not asked for);
    ``account_pause`` is why its account can do nothing just now (None: it can).
    """

    lane: Lane
    prompts: int
    bytes: int
    tokens: int
    oldest: timedelta
    held: bool = False
    paused: timedelta | None = None
    called: timedelta | None = None
    account_pause: AccountPause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One batch as the journal has it. Times are milliseconds of Redis's clock; 0 is "not yet".

    ``state`` is ``sealed``, ``uploaded``, ``submitted``, ``finished`` or ``closed``. Once closed it
    says how many rows were ``answered`` from it, answered ``already``, of an ``unknown`` prompt or
    ``unreadable``, and how many prompts had to be ``asked_again``; and what its answers used and
    cost, in nano-dollars: ``cost`` of the batch, ``live_cost`` of the same calls live, of which
    ``estimated`` rows at a guess and ``unpriced`` ones at nothing.

    ``cancel_at`` is when an operator asked for its end, ``told_at`` when somebody last said that
    its next step is due now. ``aside`` is the code of why it was set aside, where its steps did not
    kill their workers, and ``ask_again`` says that an operator has given up what its files hold.
    """

    id: str
    lane: Lane
    state: str
    lines: int
    bytes: int
    tokens: int
    sealed_at: int
    upload_intent_at: int = 0
    input_file_id: str = ""
    create_intent_at: int = 0
    looks: int = 0
    refused: int = 0
    provider_id: str = ""
    submitted_at: int = 0
    status: str = ""
    completed: int = 0
    failed: int = 0
    chain: str = ""
    finished_at: int = 0
    closed_at: int = 0
    missing_since: int = 0
    answered: int = 0
    already: int = 0
    unknown: int = 0
    unreadable: int = 0
    asked_again: int = 0
    note: str = ""
    crashes: int = 0
    dead_at: int = 0
    aside: str = ""
    ask_again: int = 0
    origin: str = ""
    budget: int = 0
    adopted: int = 0
    passed: int = 0
    trace: str = ""
    told_at: int = 0
    cancel_at: int = 0
    failed_rows: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    live_cost: int = 0
    estimated: int = 0
    unpriced: int = 0
    expires_at: int = 0
    tasks: str = ""
    codes: str = ""

    @property
    def task_names(self) -> dict[str, int]:
        """How many of its prompts each task asked, by the task's name."""
        return _counts(self.tasks)

    @property
    def errors(self) -> dict[str, int]:
        """How many of its rows failed, by the code of the error."""
        return {code: found[0] for code, found in _examples(self.codes).items()}

    @property
    def examples(self) -> dict[str, list[str]]:
        """Some prompts that failed, by the code of their error."""
        return {code: found[1] for code, found in _examples(self.codes).items()}

    @property
    def turnaround(self) -> timedelta | None:
        """From its submission to its end at the provider."""
        if not (self.submitted_at and self.finished_at):
            return None
        return timedelta(milliseconds=self.finished_at - self.submitted_at)

    @classmethod
    def from_hash(cls, batch_id: str, fields: Mapping[str, str]) -> BatchRecord:
        known: dict[str, Any] = {}
        for name, kind in cls.__annotations__.items():
            if name in fields and name not in {"id", "lane"}:
                known[name] = int(fields[name]) if kind == "int" else fields[name]
        return cls(id=batch_id, lane=Lane.from_name(fields["lane"]), **known)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnError:
    """An error in Batchq itself: its class and the place in the code, how often it was met, and
    when last (milliseconds of Redis's clock).
    """

    what: str
    times: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What is kept of an answer for people to look at: no word of it. Costs are nano-dollars.

    ``code`` is the provider's, of an error; ``batch`` is empty where none brought the answer.
    """

    status_code: int
    code: str = ""
    batch: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    live_cost: int = 0

    @classmethod
    def of(cls, outcome: Outcome, *, batch: str = "") -> Receipt:
        """The receipt of an answer that nobody was billed for."""
        code = "" if outcome.succeeded else error_code(outcome)
        return cls(status_code=outcome.status_code, code=code, batch=batch)

    def to_json(self, *, answered_at: int) -> str:
        known = {name: value for name in _RECEIPT if (value := getattr(self, name))}
        known["answered_at"] = answered_at
        return json.dumps(known)


_RECEIPT = tuple(Receipt.__annotations__)


def error_code(outcome: Outcome) -> str:
    """The code of an error as a word that may stand anywhere; ``http_<status>`` where it has none
    of that kind.
    """
    try:
        code: Any = json.loads(outcome.body)["error"]["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        code = None
    known = isinstance(code, str) and _CODE.fullmatch(code)
    return code if known else f"http_{outcome.status_code}"


_CODE = re.compile(r"[a-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call of a task: what it asked and what came back, without either text.

    ``round`` is the run of the body that asked it, counted from 0. ``place`` is ``lane``,
    ``batch:<id>`` or ``answered``; ``batch`` the batch that answered it. ``status_code`` is None
    until then, and for a call that the body made live, whose lane has no account. Costs are
    nano-dollars.
    """

    number: int
    lane: Lane
    asked_at: int
    attempts: int
    place: str
    round: int = 0
    status_code: int | None = None
    code: str = ""
    batch: str = ""
    answered_at: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    live_cost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """What the journal knows of one task. ``done`` is Celery's state once it is final; its calls
    stay to be looked at for ``batchq_keep_done`` after that.
    """

    id: str
    name: str
    done: str
    revoked: bool
    dead: bool
    running: bool
    retries: int
    crashes: int
    calls: tuple[CallRecord, ...]

    @property
    def waiting(self) -> int:
        return sum(call.place != "answered" for call in self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRecord:
    """One prompt with what is known of its task: ``name``, ``done`` and the rest as `TaskRecord`
    has them. ``call`` is None where its task has been forgotten, or revoked.
    """

    id: str
    task_id: str
    number: int
    name: str = ""
    done: str = ""
    dead: bool = False
    call: CallRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What was answered, and what it used and cost (nano-dollars). Of one day, or of one lane since
    it was first flushed.

    ``attempts`` are the prompts of all batches that ran, each as often as it was in one; ``failed``
    are rows, and the prompts of what was refused whole.
    """

    batches: int = 0
    attempts: int = 0
    prompts: int = 0
    failed: int = 0
    asked_again: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    live_cost: int = 0
    estimated: int = 0
    unpriced: int = 0
    turnaround: int = 0
    others: Mapping[str, int] = field(default_factory=dict[str, int])
    """``error:<code>`` failed ones, ``status:<status>`` batches, ``le:<seconds>`` batches whose
    turnaround was at most that, each batch in one of them; ``turnaround`` is the sum, in
    milliseconds."""

    @property
    def saved(self) -> int:
        return self.live_cost - self.cost

    @classmethod
    def from_hash(cls, fields: Mapping[str, int]) -> Sums:
        named = {name: fields[name] for name in cls.__annotations__ if name in fields}
        others = {name: count for name, count in fields.items() if ":" in name}
        return cls(**named, others=others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How much there was of what, at one minute. ``answered`` is since the journal began."""

    at: int
    waiting: int
    batched: int
    answered: int


def _counts(text: str) -> dict[str, int]:
    try:
        found: Any = json.loads(text or "{}")
        return {str(name): int(count) for name, count in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _examples(text: str) -> dict[str, tuple[int, list[str]]]:
    try:
        found: Any = json.loads(text or "{}")
        return {str(code): (int(of[0]), list(map(str, of[1]))) for code, of in found.items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """A task that may go on: when its message was sent, and whether a run has it.

    ``sent_at`` is 0 where it is to be sent now, and the negative of the time of its last answer
    where whoever brought that is about to send it. ``died`` says that a run has died for which it
    was not sent yet, ``revoked`` that Celery may not know of its revoke.
    """

    task_id: str
    sent_at: int
    held: bool
    died: bool
    sends: int
    revoked: bool

    def grown(self, patience: timedelta) -> int:
        """Milliseconds to wait for a run, doubled with each message but the first."""
        pause = int(patience.total_seconds() * 1000)
        return pause << min(max(self.sends, 1) - 1, 10)
