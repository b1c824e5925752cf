"""The Celery app under chaos: celeryconfig.py, in a hurry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from celery import Celery, Task, signals
from openai import BadRequestError, OpenAI

import batchq
from batchq import batched_llm_task
from tests.chaos import work
from tests.chaos.events import tell

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task

SEED = int(os.environ["CHAOS_SEED"])
#: Seconds. A process is paused for longer than this.
LEASE = 4.0

app: Celery[Any] = Celery("chaos", set_as_current=False)
app.config_from_object("celeryconfig")
app.conf.broker_transport_options |= {
    # Longer than any task here takes, on a machine that does much else.
    "visibility_timeout": 10,
    "unacked_restore_interval": 1,
}
app.conf.update(
    batchq_lease=LEASE,
    batchq_tick=1,
    batchq_flush_after=2,
    batchq_poll_first=0.5,
    batchq_poll_longest=2,
    batchq_create_grace=3,
    batchq_files_grace=5,
)
batchq.install(app)
client = OpenAI(max_retries=0)


class DatabaseDown(Exception):
    """Says nothing about the answer, so that the retry gets the same one."""


class Watched(AnyTask):
    """Tells when it is over, as its user sees it."""

    def on_success(self, _retval: Any, _task_id: str, args: Any, _kwargs: Any) -> None:
        tell("succeeded", args[-1])


@signals.task_postrun.connect(weak=False)
def _settled(task: Any = None, args: Any = (), state: str | None = None, **_: Any) -> None:
    """Connected after Batchq's own, so what it tells is that the journal has let go."""
    if isinstance(task, Watched):
        over = state in {"SUCCESS", "FAILURE"}
        tell("settled" if over else "parked", args[-1])


def ask(number: int, more: str = "") -> str:
    completion = client.chat.completions.create(**work.body(work.question(SEED, number, more)))
    return completion.choices[0].message.content or ""


def returned(number: int, *texts: str) -> str:
    result = work.digest(*texts)
    tell("returned", number)
    return result


@app.task(base=Watched)
@batched_llm_task
def once(number: int) -> str:
    tell("begun", number)
    return returned(number, ask(number))


@app.task(base=Watched)
@batched_llm_task
def twice(number: int) -> str:
    tell("begun", number)
    first = ask(number)
    second = ask(number, work.digest(first))
    return returned(number, first, second)


@app.task(base=Watched, bind=True)
@batched_llm_task
def flaky(self: AnyTask, number: int) -> str:
    """Its database is down when the answer comes, and up at the retry."""
    tell("begun", number)
    answer = ask(number)
    if self.request.retries == 0:
        raise self.retry(exc=DatabaseDown("no connection"), countdown=0)
    return returned(number, answer)


@app.task(base=Watched)
@batched_llm_task
def refused(number: int) -> str:
    tell("begun", number)
    try:
        return ask(number, work.REFUSED)
    except BadRequestError:
        tell("returned", number)
        raise


@app.task(base=Watched)
def collect(results: list[str], number: int) -> str:
    """The end of a chord, and a plain task."""
    tell("begun", number)
    return returned(number, *results)


@app.task(base=Watched)
@batched_llm_task
def conclude(results: list[str], number: int) -> str:
    """The end of a chord that asks for itself."""
    tell("begun", number)
    return returned(number, ask(number, work.digest(*results)))


@app.task(ignore_result=True)
def note(_result: str, number: int) -> None:
    tell("linked", number)
