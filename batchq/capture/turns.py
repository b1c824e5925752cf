"""Calls that share a pool in one run: those that have asked are told of it together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from batchq.capture.causes import members_of
from batchq.capture.run import Captured, Scope, new_asker

__all__ = ["CapturedInPool", "Shared", "Turn", "bare_threads", "is_capture", "pool_starts_threads"]

_LULL = 0.02
"""Seconds in which another call would have been given to the pool, if there were one."""
_PATIENCE = 1.0
"""Seconds without any progress after which calls that have asked wait no longer for others."""

pool_starts_threads: ContextVar[bool] = ContextVar("batchq_pool_starts_threads", default=False)


@contextmanager
def bare_threads() -> Generator[None]:
    """Within it a pool starts threads that belong to nobody: they outlive what they work for."""
    token = pool_starts_threads.set(True)
    try:
        yield
    finally:
        pool_starts_threads.reset(token)


class CapturedInPool(Exception):
    """`Captured`, on its way out of a pool whose threads would die of a BaseException."""


@dataclass(eq=False, slots=True)
class Shared:
    """What the calls of one pool share in one run: those that have asked are told of it once all
    have had their turn, for what is told of it first cancels the others.
    """

    under_way: int = 0
    events: int = 0
    asked: list[tuple[Turn, BaseException]] = field(default_factory=list[Any])
    lock: threading.Lock = field(default_factory=threading.Lock)
    watched: bool = False

    def enter(self) -> None:
        with self.lock:
            self.under_way += 1
            self.events += 1

    def leave(self, turn: Turn | None = None, captured: BaseException | None = None) -> None:
        with self.lock:
            self.under_way -= 1
            self.events += 1
            if turn is not None and captured is not None:
                self.asked.append((turn, captured))
            watch = bool(self.asked) and not self.watched
            self.watched = self.watched or watch
        if watch:
            watcher = threading.Thread(target=self._tell_all, daemon=True)
            with bare_threads():
                watcher.start()

    def _tell_all(self) -> None:
        """Tell those that have asked, once nothing more comes. Where a call waits for the answer of
        another nothing moves, and that is all the others can hope for.
        """
        told: list[tuple[Turn, BaseException]] = []
        quiet, events = 0.0, -1
        while not told:
            quiet = quiet + _LULL if self.events == events else 0.0
            events = self.events
            time.sleep(_LULL)
            with self.lock:
                all_came = not self.under_way and self.events == events
                if all_came or (quiet >= _PATIENCE and self.events == events):
                    told, self.asked, self.watched = self.asked, [], False
        for turn, captured in told:
            turn.end(error=captured)


class Turn:
    """One call that was given to a pool. Its future is our own: it is told when we say so."""

    def __init__(self, shared: Shared, scope: Scope, work: Callable[[], Any]) -> None:
        self._shared, self._scope, self._work = shared, scope, work
        self._asker = new_asker()
        self._future: Future[Any] = Future()

    def submit(self, original: Callable[..., Future[Any]]) -> Future[Any]:
        self._shared.enter()
        try:
            inner = original(self._take)
        except BaseException:
            self._shared.leave()
            raise
        inner.add_done_callback(self._is_cancelled)
        return self._future

    def _is_cancelled(self, inner: Future[Any]) -> None:
        """The pool was shut down before this call had its turn."""
        if inner.cancelled():
            self._shared.leave()
            if self._future.cancel():
                self._future.set_running_or_notify_cancel()

    def _take(self) -> None:
        if not self._future.set_running_or_notify_cancel():
            self._shared.leave()
            return
        try:
            with self._scope.entered(self._asker):
                result = self._work()
        except BaseException as error:  # noqa: BLE001 as an executor does: it is the future's
            if is_capture(error):
                self._shared.leave(self, error)
                return
            self.end(error=error)
        else:
            self.end(result)
        self._shared.leave()

    def end(self, result: Any = None, *, error: BaseException | None = None) -> None:
        self._asker.end()
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)


def is_capture(error: BaseException | None) -> bool:
    """True for what ends a body that has asked, alone or in a group of exceptions."""
    captured = isinstance(error, Captured | CapturedInPool)
    return captured or any(map(is_capture, members_of(error)))
