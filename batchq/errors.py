"""Everything Batchq raises on purpose.

BatchqError
├── ConfigurationError            settings or set-up are wrong
│   └── UnknownAccount            a captured call belongs to no configured account
├── PromptError                   a call in a batched body cannot become a prompt
│   ├── NotBatchable              a batch file has no form for it
│   │   └── KnownRefusal          the provider is known to refuse it
│   ├── PromptTooLarge            no batch file is large enough for it
│   ├── RequestChanged            a body asks something else in each of its runs
│   ├── CaptureSwallowed          a body went on after its question (strict=True)
│   ├── RunEnded                  the body that this call belongs to has ended
│   └── ThreadWithoutRun          a thread that belongs to no task makes a call
├── StepNotJournaled              a step run once returned what is not JSON
├── WorkersKilled                 the body took its worker along, three times in a row
├── NotFound                      an operator named a lane, batch or task that there is not
├── JournalUnreadable             what the journal holds of a task or batch is damaged
│   ├── KeyMissing                it is encrypted, and no key of this process opens it
│   ├── StorageAway               the storage of large bodies cannot be used
│   └── BodyLost                  a body in that storage is gone, or is another
└── ProviderError                 a call to the Batch API did not succeed
    ├── ProviderUnclear           it may or may not have happened
    └── ProviderRefused           it did not happen, and the provider said why
        ├── ProviderUnauthorized  401 or 403
        ├── ProviderNotFound      404
        └── ProviderThrottled     429

Celery sends an error as its ``args`` and builds it again from them, so every
class keeps plain parts in ``args`` and puts its sentence together in ``__str__``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


NO_USE_TO_REPEAT = 400
"""The status of what is raised at a call: without one libraries take it for a 500, and retry."""


class BatchqError(Exception):
    """The root: catch it to catch everything Batchq raises on purpose."""


class NotFound(BatchqError):
    """An operator named something that there is not; raised by `batchq.control`.

    ``what`` is lane, account, batch or task; ``known`` are names that there are, where they can be
    listed.
    """

    def __init__(self, what: str, name: str, known: Sequence[str] = ()) -> None:
        super().__init__(what, name, tuple(known))
        self.what = what
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        there_are = f" There are: {', '.join(self.known)}." if self.known else ""
        return f"there is no {self.what} {self.name!r} to act on.{there_are}"


class ConfigurationError(BatchqError):
    """A setting, or the way Batchq was set up, is wrong; raised at start, or at first use.

    `given` is what was found, as text (None where it must not be shown, or is absent),
    `expected` says what is accepted, `nearest` is the real name closest to a misspelt one.
    """

    status_code = NO_USE_TO_REPEAT

    def __init__(
        self, setting: str, given: str | None, expected: str, nearest: str | None = None
    ) -> None:
        super().__init__(setting, given, expected, nearest)
        self.setting = setting
        self.given = given
        self.expected = expected
        self.nearest = nearest

    def __str__(self) -> str:
        subject = self.setting if self.given is None else f"{self.setting} = {self.given}"
        question = "" if self.nearest is None else f" Did you mean {self.nearest}?"
        return f"{subject}: {self.expected.rstrip('.')}.{question}"


class UnknownAccount(ConfigurationError):
    """A captured call matches no configured account; raised when the call is made.

    It names the client by its base URL; the key of the call is not in here.
    """

    def __init__(self, base_url: str, reason: str, accounts: Sequence[str]) -> None:
        super().__init__("batchq_accounts", None, reason)
        self.base_url = base_url
        self.accounts = list(accounts)
        self.args = (base_url, reason, self.accounts)

    def __str__(self) -> str:
        known = ", ".join(self.accounts) or "none"
        return (
            f"no account for a call of the client with base URL {self.base_url}: "
            f"{self.expected.rstrip('.')}. Configured accounts: {known}."
        )


SENDS_PROMPTS = frozenset({"files.create", "batches.create"})
"""Calls whose answer may repeat a prompt: some providers read the file already at the create."""


class ProviderError(BatchqError):
    """A call to the Batch API did not succeed; `account` and `call` say which one."""

    def __init__(self, account: str, call: str, *parts: object) -> None:
        super().__init__(account, call, *parts)
        self.account = account
        self.call = call

    def __str__(self) -> str:
        return f"{self.call} on account {self.account!r} did not succeed"


class ProviderUnclear(ProviderError):
    """The call may or may not have happened: a timeout, a cut connection, a 5xx.

    Look for its effect before doing it again.
    """

    def __init__(self, account: str, call: str, reason: str) -> None:
        super().__init__(account, call, reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.call} on account {self.account!r} may or may not have happened: {self.reason}"
        )


class ProviderRefused(ProviderError):
    """The provider answered with a 4xx: the call had no effect.

    `message` is what it said. Of a call that sends prompts it stays out of `args` and of the text,
    and so out of logs, events and results: a provider may repeat what it was sent. `kind` is its
    type, where some servers have what others say in the code.
    """

    kind: str | None = None

    def __init__(
        self,
        account: str,
        call: str,
        status_code: int,
        code: str | None,
        message: str,
        param: str | None,
        *parts: object,
    ) -> None:
        told = "" if call in SENDS_PROMPTS else message
        super().__init__(account, call, status_code, code, told, param, *parts)
        self.status_code = status_code
        self.code = code
        self.message = message
        self.param = param

    def __str__(self) -> str:
        kind = self.status_code if self.code is None else f"{self.status_code} {self.code}"
        about = "" if self.param is None else f" (param {self.param})"
        told = f": {self.args[4]}" if self.args[4] else ""
        return f"{self.call} on account {self.account!r} was refused: {kind}{told}{about}"


class ProviderUnauthorized(ProviderRefused):
    """401 or 403: the account's key is missing, wrong, or not allowed to do this."""


class ProviderNotFound(ProviderRefused):
    """404: the batch or the file does not exist, or belongs to another account."""


class ProviderThrottled(ProviderRefused):
    """429: too much for now; `retry_after` is how long the provider asks to wait, if it says."""

    def __init__(
        self,
        account: str,
        call: str,
        status_code: int,
        code: str | None,
        message: str,
        param: str | None,
        retry_after: float | None,
    ) -> None:
        # Seconds, not a timedelta: what travels in args has to survive JSON.
        super().__init__(account, call, status_code, code, message, param, retry_after)
        self.retry_after = None if retry_after is None else timedelta(seconds=retry_after)


class PromptError(BatchqError):
    """A call in a batched body cannot become a prompt; raised at the call, before it is stored."""

    status_code = NO_USE_TO_REPEAT


class NotBatchable(PromptError):
    """The call has no form in a batch file: its endpoint, its stream, its headers or its files."""

    def __init__(self, task: str, call: str, reason: str) -> None:
        super().__init__(task, call, reason)
        self.task = task
        self.call = call
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.call} in task {self.task} cannot be batched: {self.reason}. "
            "Make this call inside `with batchq.live():`, or change it."
        )


class KnownRefusal(NotBatchable):
    """The provider is known to refuse the call, or to fail at it, when its batch runs.

    ``name`` is that of the entry in `batchq_known_refusals`, ``param`` what is refused.
    """

    def __init__(self, task: str, call: str, reason: str, name: str, param: str) -> None:
        super().__init__(task, call, reason)
        self.name = name
        self.param = param
        self.args = (task, call, reason, name, param)

    def __str__(self) -> str:
        return (
            f"{self.call} in task {self.task} would fail in its batch for {self.param}: "
            f"{self.reason}. Change the call; if its provider takes it, turn this off with "
            f'batchq_known_refusals = {{"{self.name}": False}}.'
        )


class PromptTooLarge(PromptError):
    """The call can never fit into a batch file of its account; `size` and `limit` are in `unit`."""

    def __init__(self, task: str, call: str, unit: str, size: int, limit: int) -> None:
        super().__init__(task, call, unit, size, limit)
        self.task = task
        self.call = call
        self.unit = unit
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.call} in task {self.task} has {self.size:,} {self.unit}, and a batch file "
            f"takes {self.limit:,}. Split the call, or make it inside `with batchq.live():`."
        )


class RequestChanged(PromptError):
    """A body asks something else in each of its runs, at one place in its code, and never reads
    the answers. With ``strict=True`` the first such answer is one too many.

    ``number`` is the last call whose answer is left unread, ``place`` where in the body it is
    asked, ``differs`` the keys of the request that are not as they were.
    """

    def __init__(
        self,
        task: str,
        task_id: str,
        number: int,
        endpoint: str,
        model: str,
        place: str = "",
        differs: str = "",
    ) -> None:
        super().__init__(task, task_id, number, endpoint, model, place, differs)
        self.task = task
        self.task_id = task_id
        self.number = number
        self.endpoint = endpoint
        self.model = model
        self.place = place
        self.differs = differs

    def __str__(self) -> str:
        place = f" at {self.place}" if self.place else ""
        differs = f" (it differs in {self.differs})" if self.differs else ""
        return (
            f"task {self.task} [{self.task_id}] asked {self.endpoint} ({self.model}){place} "
            f"otherwise than before{differs}, and has not read the answer to its call "
            f"{self.number}, which is paid for: a time or a random id in the request, the order of "
            "a set, or a cache or memory of its own, such as functools.cache, a checkpointer or a "
            "session. Take what changes from the task's arguments or from batchq.once(), and keep "
            'memory within the run; on_changed="by_order" gives such a request the answer of its '
            "place instead."
        )


class CaptureSwallowed(PromptError):
    """A body went on after its question, as if it were answered; raised for ``strict=True``."""

    def __init__(self, task: str, task_id: str, place: str) -> None:
        super().__init__(task, task_id, place)
        self.task = task
        self.task_id = task_id
        self.place = place

    def __str__(self) -> str:
        return (
            f"the body of task {self.task} [{self.task_id}] went on after its question at "
            f"{self.place}: what it wrote, it wrote without an answer. Something swallows the "
            "signal that ends a body which has asked: gather(return_exceptions=True), "
            "Future.exception(), a return in finally, a bare except. It runs again with the "
            "answer; write after the last call, or in batchq.once(), and let the signal pass."
        )


class RunEnded(PromptError):
    """A thread or coroutine that a body left behind made a call after the body had ended."""

    def __init__(self, task: str, task_id: str, path: str) -> None:
        super().__init__(task, task_id, path)
        self.task = task
        self.task_id = task_id
        self.path = path

    def __str__(self) -> str:
        return (
            f"a call of {self.path} was made for task {self.task} [{self.task_id}] after its body "
            "had ended: wait for every thread and coroutine inside the body."
        )


class ThreadWithoutRun(PromptError):
    """A call came from a thread that no task has started, in a process that runs batched bodies."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"a call of {self.path} came from a thread that belongs to no task, in a process that "
            "runs batched bodies: whose call it is cannot be told, and it is not sent. Start the "
            "thread inside the body, hand its work over with "
            "contextvars.copy_context().run(function, ...), or make a call of nobody's inside "
            "`with batchq.live():`."
        )


class WorkersKilled(BatchqError):
    """The body took its worker along three times in a row: out of memory, or a crash below Python.

    The task fails with this error instead of running again. What it has asked and been answered is
    kept: `batchq.dead` lists it, and `batchq.retry` sends it again.
    """

    def __init__(self, task: str, task_id: str, times: int) -> None:
        super().__init__(task, task_id, times)
        self.task = task
        self.task_id = task_id
        self.times = times

    def __str__(self) -> str:
        return (
            f"task {self.task} [{self.task_id}] killed its worker {self.times} times in a row, and "
            "is not run again. Its answers are kept: batchq.retry(app, task_id) sends it again."
        )


class StepNotJournaled(BatchqError):
    """The result of a `batchq.once` step cannot be written down as JSON."""

    def __init__(self, step: str, kind: str) -> None:
        super().__init__(step, kind)
        self.step = step
        self.kind = kind

    def __str__(self) -> str:
        return (
            f"batchq.once({self.step}) returned {self.kind}, which is not JSON: return text, "
            "numbers, lists, dicts, dates or UUIDs, and build the rest from them outside the step."
        )


class JournalUnreadable(BatchqError):
    """What the journal holds of a task cannot be read; `what` says which part, never its content.

    Somebody else has written there, or the disk has. The task that needs it fails with this error;
    to ask again, send it under a new id.
    """

    def __init__(self, what: str, *parts: object) -> None:
        super().__init__(what, *parts)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} is damaged: it is not what Batchq wrote"


class KeyMissing(JournalUnreadable):
    """It is encrypted, and none of the keys that come from `source` opens it.

    Nothing is lost, and no task fails by it: what needs it waits, and is tried again, until a
    process has the key (or a restart with it).
    """

    def __init__(self, source: str | None, what: str = "an entry of the journal") -> None:
        super().__init__(what)
        self.source = source
        self.args = (source, what)

    def __str__(self) -> str:
        where = (
            "batchq_encryption is not set"
            if self.source is None
            else f"no key from {self.source} opens it"
        )
        return f"{self.what} is encrypted, and {where}: put the key it was written with back"


class StorageAway(JournalUnreadable):
    """The storage that `batchq_large_bodies` names cannot be used, or is not the one that the other
    workers use. `where` names it, `why` says what is wrong.

    A task whose body is to be kept there fails with this error, and nothing of it was asked. A
    batch whose bodies lie there waits, and is tried again.
    """

    def __init__(self, where: str, why: str) -> None:
        super().__init__("a large body")
        self.where = where
        self.why = why
        self.args = (where, why)

    def __str__(self) -> str:
        return (
            f"the storage {self.where} (batchq_large_bodies) cannot be used: {self.why}. Nothing "
            "is lost: mount it, or make it the one that all workers share, with room to write"
        )


class BodyLost(JournalUnreadable):
    """A large body is not in its storage any more, or is not what was written there.

    Its prompt gets this as its error; nothing of it was sent. Send the task again.
    """

    def __init__(self, what: str, where: str, how: str) -> None:
        super().__init__(what)
        self.where = where
        self.how = how
        self.args = (what, where, how)

    def __str__(self) -> str:
        return (
            f"the request of {self.what} was kept as {self.where}, and {self.how}: nothing of it "
            "was sent. Send the task again"
        )
