"""Rounds without a journey: a body asks, the test answers, the body runs again from the top.

Who runs the body, what is captured of it and what a replay gets are the parts that production
runs. What stands in for the journal is what one task knows, in a dict.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from batchq.capture.end_of_run import asked_again_after, refusal
from batchq.capture.run import OnChanged, Run, running
from batchq.decide.fetch import verdict_on_row
from batchq.prompt import Outcome, Prompt
from batchq.settings.config import settings_without_redis
from batchq.testing.asked import Asked, Request
from batchq.testing.failures import Endless, Failure
from batchq.testing.known import Known
from batchq.testing.replies import Reply

__all__ = ["Body", "Rounds", "request_of"]

Body = functools.partial[Any]
Compare = Callable[[Run, Run], None]
_ENDS_THE_TEST = (KeyboardInterrupt, SystemExit, Failure)


@dataclass(slots=True)
class Rounds:
    """Runs bodies to their end, round after round, and keeps what they asked."""

    answer: Callable[[Request], Reply]
    most: int
    """How many rounds a body may take."""
    asked: Asked = field(default_factory=Asked)
    failure: Failure | None = None
    compare: Compare | None = None
    """Told of each round's run and of one more like it."""
    _known: dict[str, Known] = field(default_factory=dict[str, Known])

    def run_body(
        self,
        task: Any,
        body: Body,
        *,
        label: str,
        strict: bool | None,
        on_changed: OnChanged,
        ask_again_on: tuple[type[BaseException], ...] | None,
    ) -> Any:
        """As `batchq.capture.delivery.run_body`, from the first round to the last, and at once."""
        begun = self._begin(task)
        if begun is None:
            return body()  # Within its own run the task's body is but a function.
        known, drop = begun
        for _ in range(self.most):
            new = self._run_of(task, known, label=label, strict=strict, on_changed=on_changed)
            run, result, error = self._once(new, task, body)
            error = self._judged(run, known, error)
            if not run.asked:
                break
            self._repeat(run, task, body, known)
            known.next_number = run.next_number
            for prompt in run.asked:
                known.note(prompt, self._outcome(prompt, run))
        else:
            raise Endless(
                f"task {task.name} asked something new in each of {self.most} rounds. Where it "
                "is to ask the same again, assert_repeatable says what changes; where it is to ask "
                f"as often, most_rounds= allows more. {self.asked}"
            )
        if error is not None:
            drop += asked_again_after(run, error, ask_again_on, task)
            raise error
        return result

    def settle(self, *, task: Any, state: str | None = None, **_: Any) -> None:
        """A run of a task is over. Where the task is too, what is known of it is let go."""
        request: dict[str, Any] = task.request.__dict__
        if _MARK not in request:
            return
        known, drop = cast("tuple[Known, list[int]]", request.pop(_MARK))
        known.running = False
        known.forget(drop)
        if self.is_final(request["id"], state) and self._known.get(request["id"]) is known:
            del self._known[request["id"]]

    def is_final(self, task_id: str, state: str | None) -> bool:  # noqa: ARG002 for those who wait
        return state != "RETRY"

    def raise_failure(self) -> None:
        """Fail the test at its end, where a body, or a library in it, has caught even that."""
        if self.failure is not None:
            raise self.failure

    def reply_to(self, request: Request) -> Reply:
        """The test's answer, written down with what was asked."""
        self.asked.requests.append(request)
        try:
            return self.answer(request)
        except Failure as failure:
            self.failure = failure
            raise

    def _begin(self, task: Any) -> tuple[Known, list[int]] | None:
        """What is known of a task, and which answers its retry is to ask again; None where this is
        no delivery of its own.
        """
        if _MARK in vars(task.request):
            return None
        known = self._known.setdefault(task.request.id, Known())
        if known.running:
            # Another task in the place of this one, under its id (`self.replace`).
            known = self._known[task.request.id] = Known(known.next_number)
        known.running = True
        # On the request, for that is what tells one run of a task from the next.
        mark = vars(task.request)[_MARK] = known, list[int]()
        return mark

    def _judged(self, run: Run, known: Known, error: BaseException | None) -> BaseException | None:
        known.read = run.read
        return refusal(run, error, known.bodies.get) or error

    def _once(self, run: Run, task: Any, body: Body) -> tuple[Run, Any, BaseException | None]:
        result, error = _once_through(run, _fresh(body, task))
        if isinstance(error, _ENDS_THE_TEST):
            raise error
        return run, result, error

    def _run_of(
        self, task: Any, known: Known, *, label: str, strict: bool | None, on_changed: OnChanged
    ) -> Run:
        config = settings_without_redis(task.app)
        return Run(
            task_id=task.request.id,
            task_name=task.name,
            settings=config,
            claim=known.claim(),
            label=label,
            strict=config.strict if strict is None else strict,
            on_changed=on_changed,
            note_live=known.note_live,
            note_step=known.note_step,
        )

    def _repeat(self, run: Run, task: Any, body: Body, known: Known) -> None:
        if self.compare is not None:
            # Without the answers it is to ask what the first one asked.
            like = self._run_of(
                task, known, label=run.label, strict=run.strict, on_changed=run.on_changed
            )
            again, _, _ = self._once(like, task, body)
            self.compare(run, again)

    def _outcome(self, prompt: Prompt, run: Run) -> Outcome:
        """As a batch brings it: what its file says, or is not final in it, is asked again."""
        attempt, most = 1, run.settings.max_attempts
        while True:
            final, outcome = self._verdict(request_of(prompt, run, attempt))
            if final or attempt == most:
                return outcome
            attempt += 1

    def _verdict(self, request: Request) -> tuple[bool, Outcome]:
        return verdict_on_row(self.reply_to(request).row(request))


_MARK = "batchq_testing"


def _once_through(run: Run, body: Body) -> tuple[Any, BaseException | None]:
    with running(run):
        try:
            return body(), None
        except BaseException as raised:  # noqa: BLE001 a run that has asked waits, however its body ended
            return None, raised


def _fresh(body: Body, task: Any) -> Body:
    """The body with arguments of its own: a message that comes again brings new ones."""
    own = len(body.args) - len(task.request.args)
    args, kwargs = copy.deepcopy((body.args[own:], body.keywords))
    return functools.partial(body.func, *body.args[:own], *args, **kwargs)


def request_of(prompt: Prompt, run: Run, attempt: int) -> Request:
    return Request(
        endpoint=prompt.lane.endpoint,
        model=prompt.lane.model,
        body=json.loads(prompt.body),
        task=run.task_name,
        task_id=run.task_id,
        number=prompt.number,
        round=prompt.round,
        attempt=attempt,
        account=prompt.lane.account,
        label=prompt.lane.label,
    )
