"""Runs every behaviour with both kinds of task, all at once, and keeps what came of each."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from celery.exceptions import TimeoutError  # noqa: A004
from celery.result import AsyncResult, EagerResult, allow_join_result

from tests.fidelity.behaviours import BEHAVIOURS, Behaviour
from tests.fidelity.environments import Environment
from tests.fidelity.tasks import Kind
from tests.harness import Stack, wait_until

KINDS = ("batched", "live")
_PATIENCE = 90.0

#: These come once for a task; "received" and "started" come for each of its deliveries.
_ONCE = "sent succeeded failed retried revoked rejected".split()
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: What differs between two tasks of one kind as well: process ids, job numbers, kinds.
_CHANCE = [
    (re.compile(r"Job: \d+"), "Job: N"),
    (re.compile(r"gen\d+@\S+"), "gen@host"),
    (re.compile(r"\b(batched|live)\."), "kind."),
    (re.compile(r"notes of (batched|live) "), "notes of kind "),
    (re.compile(r"secret of (batched|live)"), "secret"),
]


@dataclass(eq=False, kw_only=True)
class Place:
    """Where one behaviour is run with one kind of task."""

    matrix: Matrix
    behaviour: Behaviour
    kind: Kind
    watched: dict[str, str] = field(default_factory=dict[str, str])
    afterwards: list[Callable[[], Any]] = field(default_factory=list[Callable[[], Any]])
    value: Any = None
    error: BaseException | None = None
    _gone_on: bool = False

    @property
    def patience(self) -> float:
        return _PATIENCE

    @property
    def app(self) -> Any:
        return self.matrix.app

    # For behaviours

    def watch(self, result: Any, name: str = "it") -> None:
        """What is seen of this task belongs to the outcome."""
        self.watched[result.id] = name

    def end(self, result: Any, *, watched: bool = True) -> list[Any]:
        """How a task, or a canvas, ends.

        While it waits, `get` raises a parent's error where it comes upon that first: which of the
        two it is, is chance in Celery. So a parent is not followed, and is looked at for itself.
        """
        # A group has no id that anybody hears of; so its members are watched.
        for number, each in enumerate(getattr(result, "results", None) or [result]):
            if watched and not isinstance(each, EagerResult):
                self.watch(each, f"it {number}" if each is not result else "it")
        alone = {"follow_parents": False} if isinstance(result, AsyncResult) else {}
        try:
            with allow_join_result():
                value = result.get(timeout=_PATIENCE, **alone)
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 whatever it is, it is to be the same
            return ["raised", type(error).__name__, str(error)]
        return ["returned", value]

    def key(self, name: str) -> str:
        """Where a task of this behaviour writes its notes."""
        return f"notes of {self.kind.name} {self.behaviour.name} {name}"

    def notes(self, name: str, least: int, *, ours: bool = True) -> list[Any]:
        """What tasks have written down, once there is so much of it."""
        key = self.key(name) if ours else name
        return wait_until(
            lambda: found if len(found := self.matrix.notes(key)) >= least else None,
            description=f"{least} notes under {key}",
            timeout=_PATIENCE,
        )

    def later(self, look: Callable[[], Any]) -> None:
        """Part of the outcome too, but looked at when nothing is under way any more."""
        self.afterwards.append(look)

    def wait_until_it_waits(self, result: Any) -> None:
        if self.kind.name == "batched":
            wait_until(lambda: result.state == "BATCHED", description="the task is BATCHED")

    def is_scheduled(self, result: Any) -> bool:
        found = self.app.control.inspect(limit=1, timeout=3).scheduled()
        return result.id in json.dumps(found)

    def wait_until(self, condition: Callable[[], Any], description: str) -> None:
        wait_until(condition, description=description)

    def go_on(self) -> None:
        """The batches of the behaviours that wait need not be held any longer for this one."""
        if self.behaviour.waits and not self._gone_on:
            self._gone_on = True
            self.matrix.waiting.release()

    def meta(self, result: Any) -> dict[str, Any]:
        """What the result backend keeps beside the result."""
        names = ("status", "children", "traceback", "parent_id", "name", "args", "kwargs", "queue")
        found: dict[str, Any] = result.backend.get_task_meta(result.id)
        return {name: found.get(name) for name in (*names, "retries", "worker")}

    def logged(self, result: Any, text: str) -> list[str]:
        """The lines of the worker's log about a task that hold a text."""
        lines = self.matrix.stack.processes[-1].output().splitlines()
        about = [line for line in lines if result.id in line]
        assert about
        return [line for line in about if text in line and "succeeded in" not in line]

    def sent_as_event(self, result: Any, text: str) -> list[str]:
        events = self.matrix.events_of(result.id)
        assert events or self.matrix.environment.loses_events
        return [event["type"] for event in events if text in json.dumps(event | {"result": ""})]

    # For the matrix

    def run(self) -> None:
        try:
            self.value = self.behaviour.run(self)
        except BaseException as error:  # noqa: BLE001 it is the outcome of one test, and not of all
            self.error = error
        finally:
            self.go_on()

    def settle(self) -> None:
        """Look at all that is left to look at, when nothing is under way any more."""
        if self.error is not None:
            return
        try:
            seen = {name: self.matrix.seen(task_id) for task_id, name in self.watched.items()}
            later = [look() for look in self.afterwards]
            self.value = self._scrubbed({"value": self.value, "later": later, "seen": seen})
            # They hold results, which would talk to a server that is gone.
            self.afterwards.clear()
        except AssertionError as error:
            self.error = error

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value

    def _scrubbed(self, value: Any) -> Any:
        """With names for ids, so that two outcomes can be compared."""
        if isinstance(value, dict):
            return {self._scrubbed(name): self._scrubbed(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._scrubbed(each) for each in value]
        if not isinstance(value, str):
            return value
        value = _UUID.sub(lambda found: f"<{self.watched.get(found[0], 'id')}>", value)
        for pattern, word in _CHANCE:
            value = pattern.sub(word, value)
        return value


class Matrix:
    """Every behaviour in one environment."""

    def __init__(self, environment: Environment, stack: Stack, app: Any) -> None:
        self.environment = environment
        self.stack = stack
        self.app = app
        self.waiting = threading.Semaphore(0)
        self.events: list[dict[str, Any]] = []
        self.places = {
            (behaviour.name, kind): Place(matrix=self, behaviour=behaviour, kind=Kind(app, kind))
            for behaviour in BEHAVIOURS.values()
            if environment.takes(behaviour)
            for kind in KINDS
        }

    def run(self) -> None:
        """All of them; afterwards nothing is under way."""
        # Made in one thread: what a first use of the app sets up is not made for several.
        self.app.finalize()
        with self.listening():
            self._run([p for p in self.places.values() if not p.behaviour.waits])
            self._run_waiting([p for p in self.places.values() if p.behaviour.waits])
            self.wait_until_idle()
        for place in self.places.values():
            place.settle()

    def outcomes(self, name: str) -> list[Any]:
        return [self.places[name, kind].outcome() for kind in KINDS]

    def notes(self, key: str) -> list[Any]:
        return [json.loads(str(text)) for text in self.stack.redis.lrange(f"notes:{key}", 0, -1)]

    def events_of(self, task_id: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("uuid") == task_id]

    def seen(self, task_id: str) -> dict[str, Any]:
        """What hooks, signals and events told of a task, and its state in the end."""
        events = self.events_of(task_id)
        types = Counter(event["type"].removeprefix("task-") for event in events)
        received = [event for event in events if event["type"] == "task-received"]
        told = ("name", "args", "kwargs", "retries", "parent_id", "root_id")
        # That of a second delivery says the same.
        says = {json.dumps([event.get(each) for each in told]) for event in received}
        heard = {
            "events": {each: types[each] for each in _ONCE},
            "kinds of events": sorted(set(types) - {"batched"}),
            "received": sorted(says),
        }
        return {
            "state": self.app.AsyncResult(task_id).state,
            "hooks and signals": Counter(json.dumps(each) for each in self.notes(task_id)),
            **({} if self.environment.loses_events else heard),
        }

    def wait_until_idle(self) -> None:
        """Nothing waits, runs or is on its way."""
        wait_until(self._is_idle, description="nothing is under way", timeout=_PATIENCE, every=0.3)

    def _is_idle(self) -> bool:
        redis = self.stack.redis
        if redis.zcard("{batchq}:waiting") or redis.zcard("{batchq}:resuming"):
            return False
        inspect = self.app.control.inspect(limit=1, timeout=3)
        tasks = [*_tasks(inspect.active()), *_tasks(inspect.reserved())]
        return not [name for name in tasks if not name.startswith("batchq.")]

    def _run(self, places: list[Place]) -> None:
        with ThreadPoolExecutor(min(len(places), self.environment.at_once)) as pool:
            list(pool.map(Place.run, places))

    def _run_waiting(self, places: list[Place]) -> None:
        emulator = self.stack.emulator
        emulator.fault("stuck_in_progress", at=0, times=None)
        emulator.fault("slow", call="live", seconds=4, times=None)
        threading.Thread(target=self._let_go, args=[len(places)]).start()
        self._run(places)

    def _let_go(self, count: int) -> None:
        for _ in range(count):
            self.waiting.acquire()
        for fault in ("stuck_in_progress", "slow"):
            self.stack.emulator.lift(fault)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Meanwhile, all of Celery's events are written down."""
        with self.app.connection_for_read() as connection:
            handlers = {"*": self.events.append}
            receiver: Any = self.app.events.Receiver(connection, handlers=handlers)

            def listen() -> None:
                for _ in receiver.consume(limit=None, safety_interval=0.2):
                    pass

            with receiver.consumer_context():
                listener = threading.Thread(target=listen)
                listener.start()
                try:
                    wait_until(self._is_heard, description="an event has been heard", every=0.2)
                    yield
                finally:
                    receiver.should_stop = True
                    listener.join()

    def _is_heard(self) -> bool:
        task_id = Kind(self.app, "plain").upper.apply_async(("x",), ignore_result=True).id
        with suppress(AssertionError):
            wait_until(lambda: self.events_of(task_id), description="it is heard", timeout=1)
        return bool(self.events)


def _tasks(answer: Any) -> Iterable[str]:
    if not answer:
        return ["nobody answered"]
    return [request["name"] for requests in answer.values() for request in requests]
