"""`manual`: the rounds of `answers`, one step at a time, when the test says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

from celery import Task

from batchq.prompt import Lane
from batchq.testing.asked import Asked, Request
from batchq.testing.failures import NotYet
from batchq.testing.inline import begin
from batchq.testing.paused import Paused
from batchq.testing.replies import Rules, answerer, expired

__all__ = ["Batches", "manual"]


@dataclass(slots=True)
class Batches:
    """What tasks have asked, on its way: it waits, is flushed into batches, is answered."""

    asked: Asked
    _rounds: Paused

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


@contextmanager
def manual(*, live: Rules = None) -> Generator[Batches]:
    """As `answers`, but a task stops where its body has asked, in the state BATCHED.

    ``result = task.delay(…)``, then `Batches.flush`, `Batches.answer` and `Batches.resume`, until
    the task has its result. Between these steps a test may look, ask more, or let batches expire.
    Live calls are answered by ``live``. A chain or a chord, which wants results at once, fails the
    test with `NotYet`.
    """
    rounds = Paused(answerer(live), most=0)
    with ExitStack() as stack:
        begin(rounds, stack)
        _remember_results(rounds, stack)
        yield Batches(rounds.asked, rounds)
    rounds.raise_failure()


def _remember_results(rounds: Paused, stack: ExitStack) -> None:
    tasks = cast("Any", Task)
    apply = tasks.apply

    def applied(task: Any, *args: Any, **kwargs: Any) -> Any:
        return rounds.result_of(apply(task, *args, **kwargs))

    tasks.apply = applied
    stack.callback(setattr, tasks, "apply", apply)
