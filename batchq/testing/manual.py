"""`manual`: the rounds of `answers`, one step at a time, when the test says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from celery import Task
from celery.result import EagerResult

from batchq.flow.capture import BATCHED, Parked, asked_again_after
from batchq.prompt import Lane, Prompt
from batchq.run import Run
from batchq.testing.asked import Asked, Request, shown
from batchq.testing.failures import Failure
from batchq.testing.inline import begin
from batchq.testing.replies import Rules, answerer, expired
from batchq.testing.rounds import Body, Rounds, request_of

__all__ = ["Batches", "NotYet", "manual"]


class NotYet(Failure):
    """A test wants something of a task, or of a batch, that has not come that far."""


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
class _Waiting:
    """A prompt with the run that asked it."""

    prompt: Prompt
    run: Run
    attempt: int = 1


@dataclass(slots=True)
class Batches:
    """What tasks have asked, on its way: it waits, is flushed into batches, is answered."""

    asked: Asked
    _rounds: _Paused

    @property
    def waiting(self) -> list[Request]:
        """The questions that no batch has yet."""
        return [self._rounds.request(each) for each in self._rounds.waiting]

    @property
    def batched(self) -> list[Request]:
        """The questions that are in a batch, without an answer."""
        return [self._rounds.request(each) for each in self._rounds.batched]

    def flush(self) -> list[list[Request]]:
        """Put all that waits into batches, one for each lane; returns them with their requests."""
        lanes: defaultdict[Lane, list[Request]] = defaultdict(list)
        for each in self._rounds.waiting:
            lanes[each.prompt.lane].append(self._rounds.request(each))
        self._rounds.batched += self._rounds.waiting
        self._rounds.waiting.clear()
        return list(lanes.values())

    def answer(self, rules: Rules, /) -> None:
        """Have all that is in a batch answered by these rules, as `answers` takes them.

        What a batch asks again waits again, until ``batchq_max_attempts`` are used up.
        """
        if not self._rounds.batched:
            raise NotYet(f"no prompt is in a batch, and {len(self.waiting)} wait: flush() first")
        self._rounds.answer_batched(rules)

    def expire(self) -> None:
        """Let all batches run out of time before they come to anything."""
        self.answer(expired())

    def resume(self) -> int:
        """Run each task again that has all of its answers; returns how many there were."""
        return self._rounds.resume()


@dataclass(slots=True)
class _Paused(Rounds):
    """Rounds that stop where a body has asked."""

    waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    batched: list[_Waiting] = field(default_factory=list[_Waiting])
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
        ask_again_on: tuple[type[BaseException], ...] | None,
    ) -> Any:
        begun = self._begin(task)
        if begun is None:
            return body()
        known, drop = begun
        run, result, error = self._once(task, body, known, label=label, strict=strict)
        if run.asked:
            known.next_number = run.next_number
            self.waiting += [_Waiting(prompt, run) for prompt in run.asked]
            self.parked[run.task_id] = _again(task)
            raise Parked
        if error is not None:
            drop += asked_again_after(run, error, ask_again_on, task)
            raise error
        return result

    def is_final(self, task_id: str, state: str | None) -> bool:
        return super().is_final(task_id, state) and task_id not in self.parked

    def request(self, each: _Waiting) -> Request:
        return request_of(each.prompt, each.run, each.attempt)

    def answer_batched(self, rules: Rules) -> None:
        self.answer = answerer(rules)
        batched, self.batched = self.batched, []
        for each in batched:
            final, outcome = self._verdict(self.request(each))
            if final or each.attempt == each.run.settings.max_attempts:
                self._note(each.prompt, outcome)
            else:
                self.waiting.append(_Waiting(each.prompt, each.run, each.attempt + 1))

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


@contextmanager
def manual(*, live: Rules = None) -> Generator[Batches]:
    """As `answers`, but a task stops where its body has asked, in the state BATCHED.

    ``result = task.delay(…)``, then `Batches.flush`, `Batches.answer` and `Batches.resume`, until
    the task has its result. Between these steps a test may look, ask more, or let batches expire.
    Live calls are answered by ``live``. A chain or a chord, which wants results at once, fails the
    test with `NotYet`.
    """
    rounds = _Paused(answerer(live), most=0)
    with ExitStack() as stack:
        begin(rounds, stack)
        _remember_results(rounds, stack)
        yield Batches(rounds.asked, rounds)
    rounds.raise_failure()


def _remember_results(rounds: _Paused, stack: ExitStack) -> None:
    tasks = cast("Any", Task)
    apply = tasks.apply

    def applied(task: Any, *args: Any, **kwargs: Any) -> Any:
        return rounds.result_of(apply(task, *args, **kwargs))

    tasks.apply = applied
    stack.callback(setattr, tasks, "apply", apply)
