"""`enqueue`: sends calls as they are drawn, no faster than they are taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from celery import Task, current_app

from batchq.bulk.calls import Call, Key, calls_of_rows, calls_of_signatures, ignores_result, runs
from batchq.bulk.handle import Enqueued
from batchq.bulk.known import Known
from batchq.bulk.progress import Progress
from batchq.bulk.sender import Sender, sender
from batchq.bulk.window import Window, queue_of
from batchq.journal import CHUNK, journal_of

__all__ = ["add_method", "enqueue"]

IN_BROKER = 10_000


def enqueue(
    signatures: Iterable[Any],
    *,
    key: Key | None = None,
    in_broker: int | None = IN_BROKER,
    resend: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Enqueued:
    """Send many tasks: for each signature what its ``apply_async(**options)`` would send.

    ``classify.enqueue(rows)`` does the same for rows of arguments. They are drawn as they are sent,
    a few hundred at a time, and none is kept; it returns when all are sent.

    key: a function of a signature (or row) whose value names it for ever: its task gets the same id
        at each start, and is not sent again while the journal, the result backend or a note of what
        was sent last knows it. None: each gets a new id.
    in_broker: at most so many of its messages wait in the broker; until some are taken, it waits.
        None: it does not.
    resend: send again what was sent by an earlier start and has not been seen to be taken.
    progress: a line on stderr; None shows it where that is a terminal.

    Raises what ``apply_async`` would at a row, with all rows before it sent.
    """
    drawn = iter(signatures)
    app, drawn = _app_of(drawn)
    shown = Progress(signatures, shown=progress)
    calls = calls_of_signatures(app, drawn, key, _checked(options))
    return _enqueue(app, calls, shown, in_broker, resend=resend)


def _enqueue_rows(
    self: Any,
    rows: Iterable[Any],
    *,
    key: Key | None = None,
    in_broker: int | None = IN_BROKER,
    resend: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Enqueued:
    """Call this task for each row, as `batchq.enqueue` does: a tuple is its positional arguments,
    anything else its one argument.
    """
    app = self.app
    calls = calls_of_rows(app.tasks[self.name], rows, key, _checked(options))
    return _enqueue(app, calls, Progress(rows, shown=progress), in_broker, resend=resend)


def add_method() -> None:
    """Give tasks the method `enqueue`. Celery makes a task of a function, and asks it for none."""
    kind: Any = Task
    if not hasattr(kind, "enqueue"):
        _enqueue_rows.__name__ = "enqueue"
        kind.enqueue = _enqueue_rows


def _app_of(signatures: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
    """The app of the first signature; and all of them."""
    first = list(islice(signatures, 1))
    app: Any = getattr(first[0], "app", None) if first else None
    return current_app if app is None else app, chain(first, signatures)


def _enqueue(
    app: Any, calls: Iterator[Call], shown: Progress, in_broker: int | None, *, resend: bool
) -> Enqueued:
    if app.conf.task_always_eager:
        return _run_at_once(app, calls)
    return _Enqueuing(app, shown, in_broker=in_broker, resend=resend).all(calls)


def _checked(options: Mapping[str, Any]) -> Mapping[str, Any]:
    refused = {"producer", "publisher", "connection", "task_id"} & options.keys()
    if refused:
        raise TypeError(f"enqueue has {' and '.join(sorted(refused))} of its own")
    return options


class _Enqueuing:
    """One `enqueue`, from its first row to its last."""

    def __init__(self, app: Any, shown: Progress, *, in_broker: int | None, resend: bool) -> None:
        if in_broker is not None and in_broker < 1:
            raise ValueError(f"in_broker is a number from 1 on, or None, not {in_broker}")
        self._app = app
        self._shown = shown
        # Small enough that there is room for some while most of the others wait.
        self._size = CHUNK if in_broker is None else max(1, min(CHUNK, in_broker // 10))
        self._known = Known(app, resend=resend)
        self._window = Window(app, journal_of(app), in_broker, self._known.forget)
        self._found = Enqueued(app)

    def all(self, calls: Iterator[Call]) -> Enqueued:
        with sender(self._app) as sends:
            try:
                while self._next(sends, calls):
                    pass
            finally:
                self._show(over=True)
        return self._found

    def _next(self, sends: Sender, calls: Iterator[Call]) -> bool:
        """Draw some and send them, also those that were drawn before an error; False at the end."""
        some = list[Call]()
        try:
            some.extend(islice(calls, self._size))
        except Exception:
            self._some(sends, some)
            raise
        self._some(sends, some)
        return bool(some)

    def _some(self, sends: Sender, calls: list[Call]) -> None:
        """Send those that nothing knows of, when there is room for them."""
        if not calls:
            return
        new, unseen = self._known.sort(calls)
        self._window.wait_for(len(new), self._show)
        try:
            sends.send(new)
        finally:
            self._known.note(new, sends.sent)
            self._found.sent += len(sends.sent)
        firsts = [alike[0] for alike in runs(calls)]
        self._window.add([*unseen, *sends.sent], map(queue_of, firsts))
        self._found.ignored |= any(map(ignores_result, firsts))
        self._found.unseen += len(unseen)
        self._found.known += len(calls) - len(new) - len(unseen)
        self._found.add([call.task_id for call in calls])
        self._show()

    def _show(self, *, over: bool = False) -> None:
        self._shown.show(self._found, len(self._window), over=over)


def _run_at_once(app: Any, calls: Iterator[Call]) -> Enqueued:
    """As ``delay`` does where ``task_always_eager`` is on: here and now."""
    found = Enqueued(app)
    for call in calls:
        words = {**call.options, "task_id": call.task_id}
        result = call.task.apply_async(call.args, call.kwargs, **words)
        found.keep(call.task_id, result.state, result.result)
        found.add([call.task_id])
        found.sent += 1
    return found
