"""The table of points, and the cases that are made of it.

Each point has the process that reaches it and the story in which it does. A test holds that the
points of this table and those in the code are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Who = Literal["user", "ours", "beat", "producer", "provider"]
Dies = Literal["kill", "redis", "pause", "nobody"]

#: The journey as it is, or with something done to it, so that a point is reached.
STORIES = {
    "plain": "a task, one of two calls, a chord of two members",
    "journey": "the same, and the rows of one member fail twice",
    "twice": "a task is delivered again while it runs",
    "slow": "calls of the provider take as long as leases",
    "stuck": "batches stop half-way and are cancelled at their deadline",
    "strange": "batches have a status that nobody knows, for a while",
    "split": "the provider refuses a file and does not say which line is to blame",
    "poor": "the account has no credit for a while",
    "deaf": "nobody takes the messages of the tasks that may go on",
    "lost": "the messages of polls are lost",
    "alone": "there is no beat",
    "poison": "a task kills its worker, three times",
    "revoked": "a task is revoked while it waits",
    "back": "all have asked, and a worker that never saw them runs them with their answers",
}


@dataclass(frozen=True, slots=True)
class Point:
    """``who`` reaches it: the worker of the user's queue, that of Batchq's, beat or a producer."""

    name: str
    who: Who
    story: str = "journey"

    @property
    def verb(self) -> str:
        return self.name.partition(".")[0]


def _points(who: Who, names: str, story: str = "journey") -> list[Point]:
    return [Point(name, who, story) for name in names.split()]


POINTS = (
    *_points("user", "claim.call claim.called body.begin"),
    *_points("user", "capture.state capture.call capture.called"),
    *_points("user", "settle.call settle.called"),
    *_points("user", "keep.call keep.called", "twice"),
    *_points("user", "bury.call bury.called", "poison"),
    *_points("user", "revoke.call revoke.called revoke.told revoke.said", "revoked"),
    *_points("ours", "lane.leased seal.call seal.called batch.leased"),
    *_points("ours", "upload.intend upload.call upload.called upload.recorded"),
    *_points("ours", "create.intend create.call create.called create.recorded"),
    *_points("ours", "poll.call poll.called ready.record ready.recorded"),
    *_points("ours", "poll.recorded", "strange"),
    *_points("ours", "cancel.call cancel.called", "stuck"),
    *_points("ours", "download.call download.line download.called"),
    *_points("ours", "answer.call answer.called"),
    *_points("ours", "resume.publish resume.published resume.recorded"),
    *_points("ours", "requeue.call requeue.called"),
    *_points("ours", "split.call split.called", "split"),
    *_points("ours", "pause.call pause.called", "poor"),
    *_points("ours", "close.call close.called delete.call delete.called"),
    *_points("ours", "wake.publish wake.published"),
    *_points("ours", "rescue.wake rescue.woken", "lost"),
    *_points("ours", "rescue.resend rescue.resent", "deaf"),
    *_points("ours", "renew.call renew.called", "slow"),
    *_points("ours", "standin.taken standin.ticked", "alone"),
    *_points("beat", "tick.note tick.noted"),
    *_points("producer", "enqueue.publish enqueue.published enqueue.noted"),
)
"""The points in the code of Batchq."""

BACK = _points("user", "claim.call claim.called body.begin", "back")
"""Those that a task passes again with its answers: whoever sleeps here may end it after another."""

CELERY = (
    *_points("user", "publish.call publish.called"),
    *_points("beat", "publish.call publish.called"),
    *_points("producer", "publish.call publish.called"),
)
"""Celery's own publishing, by its signals (app.py): a task's links, beat's tick, the caller."""


@dataclass(frozen=True, slots=True)
class Case:
    point: Point
    nth: int
    dies: Dies

    @property
    def name(self) -> str:
        back = " on the way back" if self.point.story == "back" else ""
        return f"{self.point.who} {self.point.name} {self.nth} {self.dies}{back}"

    @property
    def group(self) -> str:
        who = {"user": "user's worker", "ours": "Batchq's worker"}.get(
            self.point.who, self.point.who
        )
        words = {"kill": f"{who} killed", "pause": f"{who} paused", "redis": "Redis killed"}
        return words[self.dies]


@dataclass(frozen=True, slots=True)
class ProviderCase:
    """A call of the provider fails once, three times, or (``times`` is 0) until it is lifted."""

    call: str
    what: str
    fault: str
    options: tuple[tuple[str, Any], ...]
    times: int
    dies: Dies = "nobody"

    @property
    def name(self) -> str:
        return f"provider {self.call} {self.what} {f'{self.times}x' if self.times else 'long'}"

    @property
    def group(self) -> str:
        often = f"{self.times} times" if self.times > 1 else "once"
        return f"the provider's calls fail {often if self.times else 'for long'}"

    @property
    def point(self) -> Point:
        return Point(self.call, "provider", "stuck" if self.call == "cancel" else "plain")

    @property
    def is_refusal(self) -> bool:
        """True where in the end the prompts get the provider's own words, which is right."""
        final = self.what in {"400", "409"} and self.call in {"upload", "create", "list_files"}
        return final and not self.times


CALLS = "upload create retrieve list list_files content cancel".split()
_STATUS: list[tuple[str, dict[str, Any]]] = [
    *((str(status), {"status": status}) for status in (400, 401, 403, 408, 409, 429, 500)),
    ("429 with retry-after", {"status": 429, "retry_after": 1}),
    ("503 with a far retry-after", {"status": 503, "retry_after": 4000}),
]
_CUTS: list[tuple[str, str, dict[str, Any]]] = [
    ("dropped before", "call_drop_before", {}),
    ("dropped after", "call_drop_after", {}),
    ("later than the lease", "call_slow_after", {"seconds": 2.5}),
    ("a web page", "html_instead_of_json", {}),
]

#: A download has no effect after which it could be cut; it may be cut within (see below).
_DOWNLOADS: list[tuple[str, str, dict[str, Any]]] = [
    ("dropped before", "call_drop_before", {}),
    ("later than the lease", "slow", {"seconds": 2.5}),
    ("a web page", "html_instead_of_json", {}),
]


def provider() -> Iterator[ProviderCase]:
    """Each fault of T4 at each call, once, three times and for long."""
    for times in (1, 3, 0):
        for call in CALLS:
            for what, options in _STATUS:
                given = tuple({"call": call, **options}.items())
                yield ProviderCase(call, what, "call_error", given, times)
            for what, fault, options in _DOWNLOADS if call == "content" else _CUTS:
                given = tuple({"call": call, **options}.items())
                yield ProviderCase(call, what, fault, given, times)
        for share in (0, 0.5, 1):
            cut = (("at", share),)
            yield ProviderCase("content", f"cut at {share}", "content_cut", cut, times)
    for seconds in (0, 2, 60):
        yield ProviderCase("list", f"{seconds} s late", "list_lag", (("seconds", seconds),), 1)


@dataclass(kw_only=True)
class Verdict:
    """What became of one case. ``wrong`` says in words what was not as it should be."""

    case: Case | ProviderCase
    fired: bool = False
    lost: int = 0
    by_celery: int = 0
    twice: int = 0
    wrong_answers: int = 0
    extra: int = 0
    recovery: float = 0.0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list[str])

    logs: Path | None = None

    @property
    def good(self) -> bool:
        return not self.wrong

    def must_be_good(self) -> None:
        """For a test: what was wrong, and where to read on."""
        assert self.good, f"{self.case.name}: {'; '.join(self.wrong)} (logs: {self.logs})"


#: Here a point is reached once in a task's life.
_ONCE = {"poison", "revoked"}


def sweep() -> Iterator[Case]:
    """Every point, first and second hit, with each who dies; and each pause past the lease."""
    for point in (*POINTS, *BACK, *CELERY):
        for nth in (1,) if point.story in _ONCE else (1, 2):
            yield Case(point, nth, "kill")
            yield Case(point, nth, "redis")
        if point.who in {"user", "ours"}:
            yield Case(point, 1, "pause")


def every_case() -> list[Case | ProviderCase]:
    return [*sweep(), *provider()]


#: After an effect and before its record, where it hurts most; each part takes some seconds.
SHORT = {
    "user": "claim.called capture.called settle.called keep.called bury.called revoke.called",
    "flush": "seal.called upload.called upload.recorded create.called create.recorded split.called",
    "fetch": "poll.called ready.record download.line answer.called requeue.called close.called "
    "pause.called",
    "rescue": "resume.published rescue.woken rescue.resent cancel.called renew.called "
    "standin.taken tick.note",
}


def short(part: str) -> list[Case]:
    """The first hit of some points, and whoever reaches it killed."""
    return [Case(point, 1, "kill") for point in POINTS if point.name in SHORT[part].split()]
