"""Capture: one delivery of a batched task, from its claim to its park or its end.

claim -> body -> it asked: the questions and the task's own message go to the journal, and the
execution ends without a result (state BATCHED)
-> it ended: once Celery has stored the result, the journal is settled
"""

from __future__ import annotations

import functools
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celery import signals
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from celery.states import IGNORED, REJECTED, REVOKED
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from batchq.capture.causes import bad_answer_in, causes
from batchq.capture.difference import places
from batchq.capture.run import OnChanged, Run, note_that_bodies_run_here, running
from batchq.capture.turns import is_capture
from batchq.capture.unread import Changed, changed, skipped
from batchq.celery_side.chords import groups_of, keep_groups
from batchq.celery_side.message import message_of
from batchq.celery_side.revoke import end_revoked, stamps_of
from batchq.celery_side.started import say_started
from batchq.celery_side.time_limits import hold_soft_limit
from batchq.common.points import point
from batchq.common.seams.results import ignores_result, rank_state
from batchq.errors import (
    CaptureSwallowed,
    ConfigurationError,
    JournalUnreadable,
    KeyMissing,
    PromptError,
    RequestChanged,
    WorkersKilled,
)
from batchq.flow.adopt import reuse_asked
from batchq.journal import KILLS, Claim, Entry, Journal, journal_of
from batchq.journal.lease import Lease, Renewed, start_keeping, stop_keeping
from batchq.observe import emit
from batchq.observe.tracing import traced_run
from batchq.settings.config import settings

__all__ = ["BATCHED", "Parked", "asked_again_after", "refusal", "run_body"]

logger = logging.getLogger("batchq.capture")

BATCHED = "BATCHED"
"""The Celery state of a task whose prompts wait for their answers."""

# In Flower's process too, which imports the app.
rank_state(BATCHED, after=REVOKED)


class Parked(Ignore):
    """This delivery ends without a result; another one brings it, or has brought it."""


@dataclass(eq=False, slots=True, kw_only=True)
class _Delivery:
    """One run under way in this process, until Celery has stored its result."""

    task: Any
    journal: Journal
    lease: Lease
    renewed: Renewed
    parked: bool = False
    hear_limits: Callable[[], bool] = lambda: False
    """Ends what `hold_soft_limit` began."""
    dead: bytes | None = None
    """The message to keep, where the task fails because its runs killed their workers."""
    ask_again: list[int] = field(default_factory=list[int])
    read: frozenset[int] = frozenset()


def run_body(
    task: Any,
    body: functools.partial[Any],
    *,
    label: str,
    strict: bool | None,
    on_changed: OnChanged,
    ask_again_on: tuple[type[BaseException], ...] | None,
) -> Any:
    """Run a batched task's body within its journal; returns what the body returns.

    Raises Parked where the body has asked something, or where this delivery is one too many.
    """
    message = message_of(task)
    delivery, claim = _begin(task, message)
    run = _new_run(delivery, claim, label=label, strict=strict, on_changed=on_changed)
    token = delivery.lease.token
    with traced_run(task, claim, journal=delivery.journal, token=token) as traced:
        result, error = _run(run, body)
        delivery.read = run.read
        if not isinstance(error, _ENDS_THE_WORKER):
            body_of = functools.partial(delivery.journal.tasks.body_of, run.task_id)
            error = refusal(run, error, body_of) or error
        traced.ended(run.task_id, run.asked, error)
        if run.asked:
            _let_go_of_locals(error)
            _park(delivery, run, message)
            run.asked.clear()
    if delivery.parked:
        if isinstance(error, _ENDS_THE_WORKER):
            raise error
        # Outside of `except`: an Ignore with a context costs Celery a third of its speed.
        raise Parked from None
    _still_ours(delivery)
    if error is not None:
        delivery.ask_again = asked_again_after(run, error, ask_again_on, task)
        raise error
    return result


_ENDS_THE_WORKER = (KeyboardInterrupt, SystemExit)


def _let_go_of_locals(error: BaseException | None) -> None:
    """Free what the frames of a body that waits have: its request, in several forms.

    They and the error are a circle, which lives until Python looks for circles. Where requests have
    megabytes, a worker would hold hundreds of them. Celery does the same with the errors of tasks.
    """
    for one in () if error is None else causes(error):
        traceback.clear_frames(one.__traceback__)


def _begin(task: Any, message: bytes) -> tuple[_Delivery, Claim]:
    """Claim this run for this process, with what the journal knows of its task."""
    if "batchq.flush" not in task.app.tasks:
        raise ConfigurationError(
            f"task {task.name}",
            None,
            "its app has no batchq: call batchq.install(app) where the app is made",
        )
    journal = journal_of(task.app)
    lease = journal.runs.lease(task.request.id, task.name)
    claim: Claim | JournalUnreadable
    try:
        claim = _claim(task, journal, lease, message)
    except KeyMissing as error:
        _wait_for_the_key(task, journal, lease, message, error)
        raise Parked from None
    except JournalUnreadable as error:
        claim = error
    # A limit that came between these would leave a lease that is renewed for ever.
    hear_limits = hold_soft_limit()
    renewed = start_keeping(journal.store, lease, settings(task.app).lease)
    delivery = _Delivery(task=task, journal=journal, lease=lease, renewed=renewed)
    # On the request, which Celery keeps until it has stored the result: a second delivery of the
    # same task may run beside this one, in another thread.
    task.request.batchq_delivery = delivery
    if hear_limits():
        raise SoftTimeLimitExceeded
    if isinstance(claim, JournalUnreadable):
        # Here, where the run has begun: it ends as any other that fails.
        raise claim
    if claim.word == "DEAD":
        delivery.dead = message
        raise WorkersKilled(task.name, task.request.id, KILLS)
    say_started(task)
    return delivery, claim


def _wait_for_the_key(
    task: Any, journal: Journal, lease: Lease, message: bytes, error: KeyMissing
) -> None:
    """Leave a task whose answers are closed to this process as it is; rescue sends it again."""
    journal.runs.unclaim(task.request.id, token=lease.token, message=message)
    logger.error(
        "task %s [%s] waits: %s",
        *(task.name, task.request.id, error),
        extra={"action": "capture", "task_id": task.request.id},
    )


def _new_run(
    delivery: _Delivery, claim: Claim, *, label: str, strict: bool | None, on_changed: OnChanged
) -> Run:
    task, journal, token = delivery.task, delivery.journal, delivery.lease.token
    config, task_id = settings(task.app), task.request.id

    def note_live(entry: Entry) -> None:
        try:
            journal.runs.note_live(task_id, token=token, entry=entry)
        except RedisError as failure:
            # The answer is there and paid for, and the SDK would take this for an error of the API.
            logger.warning(
                "a live call of task %s [%s] is not written down; the next run makes it again: %s",
                *(task.name, task_id, failure),
                extra={"action": "capture", "task_id": task_id},
            )

    def note_step(name: str, value: str) -> None:
        journal.runs.note_step(task_id, token=token, name=name, value=value)

    return Run(
        task_id=task_id,
        task_name=task.name,
        settings=config,
        claim=claim,
        label=label,
        strict=config.strict if strict is None else strict,
        on_changed=on_changed,
        note_live=note_live,
        note_step=note_step,
    )


def _run(run: Run, body: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    note_that_bodies_run_here()
    with running(run):
        try:
            point("body.begin")
            return body(), None
        except BaseException as raised:  # noqa: BLE001 a run that has asked waits, however its body ended
            return None, raised


def refusal(
    run: Run, error: BaseException | None, body_of: Callable[[int], bytes | None]
) -> PromptError | None:
    """What the end of a run says about its questions: in the log, or as the error it ends with.

    With an error nothing of what it asked is sent. ``error`` is how the body ended, ``body_of``
    gives the request of an earlier call.
    """
    problem: PromptError
    for one in changed(run.asked, run.claim.entries, run.read):
        problem = _request_changed(run, one, body_of)
        if run.strict or one.rounds >= _ROUNDS_UNREAD:
            run.asked.clear()
            return problem
        _warn(run, problem)
    if run.asked and not _was_told(error):
        problem = CaptureSwallowed(run.task_name, run.task_id, run.places[run.asked[0].site])
        if run.strict:
            run.asked.clear()
            return problem
        _warn(run, problem)
    if not run.asked and error is None:
        _tell_skipped(run)
    return None


_ROUNDS_UNREAD = 2
"""How many rounds of one place may be left unread, one after the other, before its task ends."""


def _request_changed(
    run: Run, one: Changed, body_of: Callable[[int], bytes | None]
) -> RequestChanged:
    try:
        before = body_of(one.before.number)
    except JournalUnreadable:
        before = None
    return RequestChanged(
        *(run.task_name, run.task_id, one.before.number, one.before.endpoint, one.before.model),
        run.places[one.asked.site],
        places(before, one.asked.body) if before is not None else "",
    )


def _was_told(error: BaseException | None) -> bool:
    """True where the body ended by the signal, or by an error that came of it."""
    return error is not None and any(map(is_capture, causes(error, incidental=True)))


def _tell_skipped(run: Run) -> None:
    left = skipped(run.claim.entries, run.read)
    if left:
        logger.warning(
            "task %s [%s] has ended without the answers to its calls %s, which are paid for: its "
            "body did not make them again. A cache or memory of its own does that; keep it in "
            "batchq.once(), or outside of what is asked",
            *(run.task_name, run.task_id, ", ".join(str(entry.number) for entry in left)),
            extra={"action": "resume", "task_id": run.task_id},
        )


def _warn(run: Run, problem: PromptError) -> None:
    logger.warning(
        "%s Set strict=True to make this an error.",
        problem,
        extra={"action": "capture", "task_id": run.task_id},
    )


def _claim(task: Any, journal: Journal, lease: Lease, message: bytes) -> Claim:
    """Begin this run, or end this delivery."""
    request = task.request
    claim = None
    patience = time.monotonic() + settings(task.app).lease.total_seconds()
    while claim is None or (claim.word == "ENDING" and time.monotonic() < patience):
        if claim is not None:
            # self.retry and self.replace send the next message before their own run has ended.
            time.sleep(0.02)
        point("claim.call")
        claim = journal.runs.claim(
            request.id,
            token=lease.token,
            nesting=request.replaced_task_nesting or 0,
            retries=request.retries or 0,
        )
        point("claim.called")
    if claim.word in {"CLAIMED", "DEAD"}:
        return claim
    if claim.word == "REVOKED":
        end_revoked(task, token=lease.token, message=message)
    elif claim.word in {"BUSY", "ENDING"}:
        # This delivery is acknowledged now; should the other run die, rescue sends it again.
        point("keep.call")
        journal.runs.keep(request.id, message=message)
        point("keep.called")
    logger.info(
        "a second delivery of task %s [%s] ends here: %s",
        *(task.name, request.id, _WHY[claim.word]),
        extra={"action": "capture", "task_id": request.id},
    )
    raise Parked


_WHY = {
    "BUSY": "it is running elsewhere",
    "ENDING": "the run before it has not ended",
    "WAITING": "its prompts wait for their answers",
    "REVOKED": "it was revoked",
    "DONE": "it has ended already (to run a finished task again, send it under a new id)",
}


def _park(delivery: _Delivery, run: Run, message: bytes) -> None:
    """End the execution without a result, in an order that a crash between two steps does not hurt.

    A late BATCHED would overwrite a final state, so state and event go first: should we die before
    the journal is written, the message is delivered again, or the task is lost as any Celery task.
    """
    task = delivery.task
    # The body has ended in time. A limit that fails the task now would leave its questions behind,
    # and their answers would run it again.
    delivery.hear_limits = hold_soft_limit()
    point("capture.state")
    if not ignores_result(task):
        meta = {"prompts": len(run.asked), "lanes": sorted({p.lane.name for p in run.asked})}
        _try_to_tell(task, lambda: task.update_state(state=BATCHED, meta=meta))
    point("capture.event")
    _try_to_tell(task, lambda: task.send_event("task-batched", retry=False))
    _tie(delivery)
    word = delivery.journal.runs.capture(
        run.task_id,
        token=delivery.lease.token,
        message=message,
        prompts=run.asked,
        next_number=run.next_number,
        name=task.name,
        read=run.read,
    )
    point("capture.called")
    delivery.parked = True
    if word == "CAPTURED":
        reuse_asked(task.app, run.asked)
    if word == "REVOKED":
        end_revoked(task, token=delivery.lease.token, message=message)
    logger.info(
        "task %s [%s] asked %d prompts in its round %d: %s",
        *(task.name, run.task_id, len(run.asked), run.round + 1, word),
        extra={"action": "capture", "task_id": run.task_id},
    )


def _try_to_tell(task: Any, tell: Callable[[], Any]) -> None:
    """Say that a task is BATCHED, if somebody hears it: no task fails for want of that."""
    try:
        tell()
    except (SoftTimeLimitExceeded, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 a broker's or a backend's, of any kind
        logger.warning(
            "it is not told that task %s [%s] is BATCHED (%s)",
            *(task.name, task.request.id, type(error).__name__),
            extra={"action": "capture", "task_id": task.request.id},
        )


def _tie(delivery: _Delivery) -> None:
    """Write down what of Celery's is to live on while the task waits, and let it."""
    request = delivery.task.request
    groups, stamps = groups_of(request), stamps_of(request)
    if groups or stamps:
        delivery.journal.chords.tie(
            request.id, token=delivery.lease.token, groups=groups, stamps=stamps
        )
        keep_groups(delivery.task.app, groups)


def _still_ours(delivery: _Delivery) -> None:
    """End here, without a result, where another run has taken over while this one was held up."""
    if not delivery.renewed.is_sure():
        delivery.renewed.renew()
        if delivery.renewed.lost:
            raise Parked from None


def asked_again_after(
    run: Run, error: BaseException, ask_again_on: tuple[type[BaseException], ...] | None, task: Any
) -> list[int]:
    """The calls whose answers a retry after ``error`` is not to get, but to ask anew."""
    if isinstance(error, Retry) and _has_other_arguments(error, task.request):
        # Another question; to the replay it would look like the old one in other words.
        return [entry.number for entry in (*run.claim.entries, *run.used)]
    if ask_again_on is None:
        from openai import OpenAIError

        ask_again_on = (OpenAIError, ValueError, LookupError)
    bad = bad_answer_in(error, ask_again_on)
    return [] if bad is None else run.ask_again(bad)


def _has_other_arguments(retry: Any, request: Any) -> bool:
    """True after ``self.retry(args=...)`` or ``kwargs=`` with others than this run has."""
    args: tuple[Any, ...] = tuple(retry.sig.args if retry.sig is not None else request.args)
    kwargs: dict[str, Any] = retry.sig.kwargs if retry.sig is not None else request.kwargs
    return args != tuple(request.args) or kwargs != request.kwargs


@signals.task_postrun.connect(weak=False)
def _settle(
    task: Any = None, task_id: str = "", state: str | None = None, retval: Any = None, **_: Any
) -> None:
    """Celery has stored the result and sent what follows from it: the journal may let go."""
    delivery: _Delivery | None = task.request.__dict__.pop("batchq_delivery", None)
    if delivery is None:
        return
    delivery.hear_limits()
    stop_keeping(delivery.renewed)
    if delivery.parked:
        return
    if _has_lost_its_retry(retval):
        # Nobody else has it any more. Its lease ends, and rescue finds a run that died.
        logger.warning(
            "task %s [%s] could not send its retry, and is run again",
            *(task.name, task_id),
            extra={"action": "capture", "task_id": task_id},
        )
        return
    if state in _WITHOUT_RESULT:
        _waits_no_more(task, task_id)
    if delivery.dead is not None and state != "RETRY":
        point("bury.call")
        word = delivery.journal.runs.bury(
            task_id, token=delivery.lease.token, message=delivery.dead, state=state or "IGNORED"
        )
        point("bury.called")
        if word == "BURIED":
            emit.tell_dead_task(task.app, task_id, task.name)
        return
    point("settle.call")
    delivery.journal.runs.settle(
        task_id,
        token=delivery.lease.token,
        state=state or "IGNORED",
        final=state != "RETRY",
        ask_again=delivery.ask_again,
        read=delivery.read,
    )
    point("settle.called")


_WITHOUT_RESULT = {IGNORED, REJECTED}


def _has_lost_its_retry(retval: Any) -> bool:
    """True where the broker was away when Celery sent a retry: it rejects the task for that."""
    away = (OperationalError, RedisConnectionError, OSError)
    if not isinstance(retval, Reject):
        return False
    rejected: Any = retval
    return isinstance(rejected.reason, away) and not rejected.requeue


def _waits_no_more(task: Any, task_id: str) -> None:
    """A body that raised Ignore or Reject leaves its task without a result, but not BATCHED."""
    result = task.AsyncResult(task_id)
    try:
        if not ignores_result(task) and result.state == BATCHED:
            result.forget()
    except NotImplementedError:
        return  # This backend keeps no states.
