"""Rounds that stop where a body has asked: the engine of `manual`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from celery.result import EagerResult

from batchq.capture.end_of_run import asked_again_after
from batchq.capture.parked import BATCHED, Parked
from batchq.capture.run import OnChanged, Run
from batchq.prompt import Prompt
from batchq.testing.asked import Request, shown
from batchq.testing.failures import NotYet
from batchq.testing.known import Known
from batchq.testing.replies import Rules, answerer
from batchq.testing.rounds import Body, Rounds, request_of

__all__ = ["Paused"]

if TYPE_CHECKING:
    _EagerResult = EagerResult[Any]
else:
    _EagerResult = EagerResult


class Result(_EagerResult):
    """What `delay` returns: BATCHED until `Batches.resume` has brought its task to its end."""

    def ready(self) -> bool:
        return str(self.state) != BATCHED

    def get(self, *args: Any, **kwargs: Any) -> Any:
        if not self.ready():
            raise NotYet(
                f"task {self.id} waits: flush(), answer(...) and resume() bring it on. Chains and "
                "chords want the results of their parts at once; `answers` runs them"
            )
        return super().get(*args, **kwargs)

    def become(self, other: Any) -> None:
        """Have the state and result of another."""
        self._state, self._result, self._traceback = other.state, other.result, other.traceback


@dataclass(slots=True)
class Waiting:
    """A prompt, with the run that asked it and what is known of its task."""

    prompt: Prompt
    run: Run
    known: Known
    attempt: int = 1


@dataclass(slots=True)
class Paused(Rounds):
    """Rounds that stop where a body has asked."""

    waiting: list[Waiting] = field(default_factory=list[Waiting])
    batched: list[Waiting] = field(default_factory=list[Waiting])
    parked: dict[str, Callable[[], Any]] = field(default_factory=dict[str, Callable[[], Any]])
    """How to run each task again that has asked."""
    results: dict[str, Result] = field(default_factory=dict[str, Result])

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
        begun = self._begin(task)
        if begun is None:
            return body()
        known, drop = begun
        new = self._run_of(task, known, label=label, strict=strict, on_changed=on_changed)
        run, result, error = self._once(new, task, body)
        error = self._judged(run, known, error)
        if run.asked:
            known.next_number = run.next_number
            self.waiting += [Waiting(prompt, run, known) for prompt in run.asked]
            self.parked[run.task_id] = _again(task)
            raise Parked
        if error is not None:
            drop += asked_again_after(run, error, ask_again_on, task)
            raise error
        return result

    def is_final(self, task_id: str, state: str | None) -> bool:
        return super().is_final(task_id, state) and task_id not in self.parked

    def request(self, each: Waiting) -> Request:
        return request_of(each.prompt, each.run, each.attempt)

    def answer_batched(self, rules: Rules) -> None:
        self.answer = answerer(rules)
        batched, self.batched = self.batched, []
        for each in batched:
            final, outcome = self._verdict(self.request(each))
            if final or each.attempt == each.run.settings.max_attempts:
                each.known.note(each.prompt, outcome)
            else:
                self.waiting.append(replace(each, attempt=each.attempt + 1))

    def resume(self) -> int:
        out = {each.prompt.task_id for each in (*self.waiting, *self.batched)}
        ready = [task_id for task_id in self.parked if task_id not in out]
        if not ready:
            asked = "\n".join(f"  {shown(self.request(e))}" for e in (*self.waiting, *self.batched))
            raise NotYet(f"no task has all of its answers. Out are:\n{asked}")
        for again in [self.parked.pop(task_id) for task_id in ready]:
            again()
        return len(ready)

    def result_of(self, result: Any) -> Any:
        """The one object for each task that waits, or has waited."""
        known = self.results.get(result.id)
        if result.id in self.parked:
            known = self.results.setdefault(
                result.id, Result(result.id, None, BATCHED, name=result.name)
            )
        elif known is not None and result is not known:
            known.become(result)
        return result if known is None else known


def _again(task: Any) -> Callable[[], Any]:
    request = task.request
    sent = {
        "task_id": request.id,
        "retries": request.retries,
        "headers": request.headers,
        "link": request.callbacks,
        "link_error": request.errbacks,
        "ignore_result": request.ignore_result,
    }
    args, kwargs = request.args, request.kwargs
    return lambda: task.apply(args, kwargs, **sent)
