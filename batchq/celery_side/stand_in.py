"""Stand-in: while beat is away, one of the workers sends Batchq's own ticks, and says so.

Beat notes each tick that it sends; every worker looks for that note. After three ticks without one
the first worker to take the stand-in's lease does what beat would do for Batchq: it sends flush and
rescue, and keeps the schedules of ``batchq_flush_at``. It ends when beat is back. Two beats, or a
beat and a stand-in, are harmless: a tick finds nothing to do where another was faster.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from celery import bootsteps, signals
from celery.schedules import maybe_schedule

from batchq.common.points import point
from batchq.journal import Journal, journal_of
from batchq.settings.config import settings

__all__ = ["MISSED", "StandIn", "Watch", "note_ticks", "send_ticks"]

logger = logging.getLogger("batchq.standin")

MISSED = 3
"""How many ticks of beat may be missing before a worker stands in."""


def send_ticks(app: Any) -> None:
    """Send what beat sends for Batchq at each tick. What nobody takes in time is worth nothing."""
    expires = 6 * settings(app).tick.total_seconds()
    for verb in ("flush", "rescue"):
        app.tasks[f"batchq.{verb}"].apply_async(expires=expires)


class StandIn(bootsteps.StartStopStep):
    """The step of a worker's start that makes it watch beat, once its pool has forked."""

    requires = ("celery.worker.components:Pool",)

    def create(self, parent: Any) -> Any:
        return Watch(parent.app, parent.hostname)


class Watch:
    """A thread of a worker's main process that looks for beat and stands in for it."""

    def __init__(self, app: Any, hostname: str) -> None:
        self._app = app
        self._name = f"{hostname}/{os.getpid()}"
        self._over = threading.Event()
        self._began_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._stands_in = self._failed = False

    def start(self) -> None:
        # A thread of its own: neither Redis nor the broker may hold up the worker's consumer.
        threading.Thread(target=self._run, name="batchq-stand-in", daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def _run(self) -> None:
        tick = settings(self._app).tick
        while not self._over.wait(tick.total_seconds()):
            try:
                self._look(journal_of(self._app), tick)
                self._failed = False
            except Exception as error:  # noqa: BLE001 Redis or the broker may be away; the next look tries again
                if not self._failed:
                    logger.warning(
                        "this worker cannot see whether beat is there (%s), and does not stand in "
                        "for it before it can",
                        error,
                        extra={"action": "stand-in"},
                    )
                self._failed = True

    def _look(self, journal: Journal, tick: timedelta) -> None:
        patience = MISSED * tick
        seen = journal.beat.since()
        watched = timedelta(seconds=time.monotonic() - self._began)
        if watched < patience or (seen is not None and seen < patience):
            self._end(journal)
        elif journal.beat.stand_in(self._name, patience):
            point("standin.taken")
            self._begin(seen)
            if any(self._is_due(schedule, journal) for schedule in settings(self._app).flush_at):
                journal.lanes.call_for_everything()
            send_ticks(self._app)
            point("standin.ticked")
        else:
            self._stands_in = False

    def _begin(self, seen: timedelta | None) -> None:
        if not self._stands_in:
            when = "never" if seen is None else f"{seen.total_seconds():.0f} s ago"
            logger.warning(
                "beat was last seen %s: this worker (%s) sends batchq's ticks until it is back",
                *(when, self._name),
                extra={"action": "stand-in"},
            )
        self._stands_in = True

    def _end(self, journal: Journal) -> None:
        if self._stands_in:
            logger.warning(
                "beat is back: this worker does not send batchq's ticks any more",
                extra={"action": "stand-in"},
            )
            journal.beat.stand_down(self._name)
        self._stands_in = False

    def _is_due(self, schedule: Any, journal: Journal) -> bool:
        # Whoever flushed everything last: beat, a stand-in or a person, it need not be done again.
        since = journal.lanes.since_everything()
        last = self._began_at if since is None else datetime.now(UTC) - since
        return bool(cast("Any", maybe_schedule(schedule, app=self._app)).is_due(last).is_due)


# In beat's own process


def note_ticks(sender: Any = None, **_: Any) -> None:
    """Let beat note each tick it sends, in a thread: it must not wait for the journal's Redis."""
    app, ticked, state = sender.app, threading.Event(), {"failed": False}

    def sent(sender: Any = None, **_: Any) -> None:
        if sender == "batchq.rescue":
            ticked.set()

    def note() -> None:
        while ticked.wait():
            ticked.clear()
            try:
                point("tick.note")
                journal_of(app).beat.note()
                point("tick.noted")
                state["failed"] = False
            except Exception as error:  # noqa: BLE001 a tick that is not noted is worth a warning and no more
                if not state["failed"]:
                    logger.warning(
                        "beat sends its ticks and cannot note them in the journal (%s): workers "
                        "may take it for away, and stand in",
                        error,
                        extra={"action": "stand-in"},
                    )
                state["failed"] = True

    signals.after_task_publish.connect(sent, weak=False)
    threading.Thread(target=note, name="batchq-ticks", daemon=True).start()
