"""What an operator does: flush, hold and release a lane, release an account, cancel a batch, revoke
and retry tasks.

The commands and the Batches page call these; they are for scripts as well. Each says in a word, or
with an error, whether it did something. Nothing here waits for a worker.
"""

from __future__ import annotations

from typing import Any, Literal

from celery.states import READY_STATES

from batchq.errors import NotFound
from batchq.journal import journal_of
from batchq.prompt import Lane
from batchq.settings.config import settings

__all__ = [
    "cancel",
    "flush",
    "hold",
    "lane_named",
    "release",
    "release_account",
    "retry",
    "revoke",
]


def lane_named(app: Any, name: str) -> Lane:
    """A lane by its name, which the commands and pages show, or the only one that begins so.

    Raises NotFound where there is none that holds prompts, is held or was ever flushed, or more
    than one begins so.
    """
    journal = journal_of(app)
    waiting = {record.lane for record in journal.lanes.all()}
    known = {
        lane.name: lane for lane in waiting | journal.lanes.held() | set(journal.tallies.lanes())
    }
    if name in known:
        return known[name]
    close = sorted(one for one in known if name and name in one)
    if len(close) == 1:
        return known[close[0]]
    raise NotFound("lane", name, tuple(close or sorted(known)))


def flush(app: Any, lane: Lane | None = None) -> None:
    """Let all that waits now, or waits in one lane, be sealed into batches by a worker.

    What the provider has no room for goes as soon as there is some. A lane that is held waits.
    """
    journal_of(app).lanes.call_for_everything(lane)
    app.tasks["batchq.flush"].apply_async()


def hold(app: Any, lane: Lane) -> bool:
    """Let nothing leave a lane until it is released; False where it is held already.

    Tasks go on asking into it. What is in a batch already is not stopped by it, see `cancel`.
    """
    return journal_of(app).lanes.hold(lane)


def release(app: Any, lane: Lane) -> bool:
    """Let a lane that is held go on; False where it is not held."""
    return journal_of(app).lanes.release(lane)


def release_account(app: Any, account: str) -> bool:
    """Let an account that is paused go on now, and all of it; False where it is not.

    It pauses again where it meets the same. Raises NotFound where the settings have no such account
    and none is paused.
    """
    # Here, so that `import batchq` in a web process does not load the journey.
    from batchq.flow.pause import release as release_from_pause

    if release_from_pause(app, account):
        app.tasks["batchq.flush"].apply_async()
        return True
    known = settings(app).accounts
    if account not in known:
        raise NotFound("account", account, tuple(known))
    return False


def cancel(app: Any, batch_id: str, *, hold: bool = True) -> Literal["ASKED", "OVER"]:
    """Ask for the end of a batch; a worker tells the provider.

    What the provider has answered by then counts, and is billed. The rest goes back to its lane
    without using up an attempt; the lane is held, so that it is not sent again at once, unless
    ``hold`` is false. OVER where it had ended already. Raises NotFound.
    """
    # Here, so that `import batchq` in a web process does not load the journey.
    from batchq.flow.rescue import wake_late

    journal = journal_of(app)
    record = journal.batches.get(batch_id)
    if record is None:
        raise NotFound("batch", batch_id)
    if hold and record.state not in {"finished", "closed"}:
        journal.lanes.hold(record.lane)
    if not journal.batches.ask_to_cancel(batch_id):
        return "OVER"
    wake_late(app, batch_id)
    return "ASKED"


def revoke(app: Any, task_id: str) -> None:
    """Revoke a task, as ``app.control.revoke`` does: one that waits ends at once.

    Raises NotFound where the journal knows no such task that is not final.
    """
    record = journal_of(app).views.task(task_id)
    if record is None or (record.done and not record.dead):
        raise NotFound("task", task_id)
    app.control.revoke(task_id)


def retry(app: Any, name: str, *, ask_again: bool = False) -> bool:
    """Try a dead task (by its id) or a batch again; False where nothing dead has that id.

    Of a batch the files are read again, and nothing is paid for. With ``ask_again`` what they do
    not say is given up, and goes into the next batch.

    A task is sent as it came, and has the answers it had. Its ``AsyncResult`` says BATCHED until it
    ends again. What Celery did at its failure stays done: its errbacks have run, and a chord it was
    part of has failed.
    """
    # Here, so that `import batchq` in a web process does not load the journey.
    from batchq.capture.parked import BATCHED
    from batchq.flow.rescue import wake_late
    from batchq.flow.resume import resume

    journal = journal_of(app)
    if name in dict(journal.tasks.dead()):
        result = app.AsyncResult(name)
        if result.state in READY_STATES:
            # First: what Celery holds for final is not sent again by rescue, but forgotten.
            app.backend.store_result(name, None, BATCHED)
    journal.tasks.forget_failures(name)
    if journal.tasks.revive(name):
        resume(app, [name])
        return True
    if journal.batches.revive(name, ask_again=ask_again):
        wake_late(app, name)
        return True
    return False
