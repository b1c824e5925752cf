"""A journey without processes: deliveries and steps run in the test's own process, when it says so.

The journal, the broker and the results are the real Valkey's, the batches the emulator's. A test
sees exactly which body ran when, and nothing waits for beat or a worker.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any, overload

from celery import Celery, signals
from celery.result import denied_join_result
from celery.worker.request import Request
from kombu import pools

from batchq import batched_llm_task
from batchq.capture.parked import BATCHED
from batchq.flow.fetch import fetch
from batchq.flow.flush import flush
from batchq.flow.poll import poll
from batchq.journal import Journal, journal_of
from tests.apps.base import make_app
from tests.harness import Emulator, wait_until

MODEL = "gpt-5.6-luna"


def user(text: str) -> list[Any]:
    """One message, as a chat completion takes it."""
    return [{"role": "user", "content": text}]


def ask(client: Any, text: str, **more: Any) -> str:
    completion = client.chat.completions.create(model=MODEL, messages=user(text), **more)
    return str(completion.choices[0].message.content)


async def ask_async(client: Any, text: str) -> str:
    completion = await client.chat.completions.create(model=MODEL, messages=user(text))
    return str(completion.choices[0].message.content)


class Bench:
    """One Celery app with its journal, and an emulator behind it."""

    def __init__(self, emulator: Emulator, **settings: Any) -> None:
        self.emulator = emulator
        # A poll that is due at once: the test decides when it is made.
        self.app: Celery = make_app("bench", **{"batchq_poll_first": 0.001, **settings})
        # Unlike any other app's, so that it has connection pools of its own, to be closed with it.
        self.app.conf.broker_transport_options = {"bench": id(self)}
        self.app.finalize()

    @property
    def journal(self) -> Journal:
        return journal_of(self.app)

    @overload
    def task(self, fun: Callable[..., Any], /) -> Any: ...
    @overload
    def task(self, **options: Any) -> Callable[[Callable[..., Any]], Any]: ...
    def task(self, fun: Any = None, /, **options: Any) -> Any:  # type: ignore[misc]
        """`@batched_llm_task` on this app, with or without options."""
        # Celery gives the tasks of one app to all others, unless told not to.
        decorate: Callable[[Any], Any] = batched_llm_task(app=self.app, shared=False, **options)
        return decorate if fun is None else decorate(fun)

    def send(self, task: Any, *args: Any, **options: Any) -> Any:
        """Send the task's message; returns its AsyncResult."""
        # As in a worker, the result is not subscribed to: nothing here waits for it.
        with denied_join_result():
            return task.apply_async(args, **options)

    def run(self, task: Any, *args: Any) -> Any:
        """What the task returns after its whole journey; raises what it raises."""
        result = self.send(task, *args)
        self.deliver()
        while result.state == BATCHED:
            self.answer()
            assert self.deliver()
        assert result.state in {"SUCCESS", "FAILURE"}, result.state
        if result.state == "FAILURE":
            raise result.result
        return result.result

    def ask(self, task: Any, *args: Any) -> Any:
        """Run the task up to its first question; returns its AsyncResult."""
        result = self.send(task, *args)
        self.deliver()
        assert result.state == BATCHED, result.result
        return result

    def deliver(self) -> int:
        """Run each message of the Celery queue as a worker would; returns how many there were."""
        delivered = 0
        with self.app.connection_for_read() as connection:
            queue = self.app.amqp.queues["celery"](connection.default_channel)
            queue.declare()
            while (message := queue.get(no_ack=True)) is not None:
                request = Request(message, app=self.app, hostname="bench")
                signals.task_received.send(sender=None, request=request)
                request.execute()
                delivered += 1
        return delivered

    def answer(self) -> None:
        """Have all that waits answered, in batches."""
        flush(self.app, everything=True)
        for batch in self.journal.batches.open():
            flush(self.app, batch.id)
        for batch in self.journal.batches.open():
            finished = functools.partial(self._is_finished, batch.id)
            wait_until(finished, description=f"{batch.id} is finished", every=0.005)
            # One that was read in vain is due a moment later, and a step before that does nothing.
            due = functools.partial(self._is_due, batch.id)
            wait_until(due, description=f"{batch.id} is due", every=0.005)
            fetch(self.app, batch.id)

    def _is_finished(self, batch_id: str) -> bool:
        record = self.journal.batches.get(batch_id)
        assert record is not None
        # A batch has three moments to wait for, one after the other, and one poll for all of them.
        for _ in range(3):
            self.emulator.advance(timedelta(minutes=1))
        poll(self.app, batch_id, record.chain)
        record = self.journal.batches.get(batch_id)
        return record is not None and record.state == "finished"

    def _is_due(self, batch_id: str) -> bool:
        # One that is set aside is not due for a day.
        return not timedelta(0) < self.journal.batches.due_in(batch_id) < timedelta(minutes=1)

    def waiting(self) -> int:
        """How many prompts wait in lanes."""
        return sum(lane.prompts for lane in self.journal.lanes.all())

    def close(self) -> None:
        # Its own pools, and not those of the other apps of this process.
        connection = self.app.connection_for_write()
        for group in (pools.producers, pools.connections):
            pool = group.pop(connection, None)
            if pool is not None:
                pool.force_close_all()
        self.app.close()
        backend: Any = self.app.backend
        for client in (backend.client, self.journal.store.redis):
            client.connection_pool.disconnect()
