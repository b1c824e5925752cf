"""The journal against a plain model of it, step by step, on a real server.

What always holds: a prompt is in exactly one place, its first outcome never changes, nothing is
lost, and the sums of a lane are those of what waits in it.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import redis
from celery import Celery
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from batchq.decide.room import NO_LIMIT
from batchq.journal import KILLS, Journal
from batchq.journal.store import Store
from batchq.prompt import Lane, Outcome, Prompt
from batchq.settings.config import settings
from batchq.settings.limits import Limits
from tests.harness import ReservedPort, Server, keys_without_end
from tests.journals import DOCUMENTED, LANE, claim, message, prompt

LANES = (LANE, Lane(account="default", endpoint="/v1/responses", model="other", label="späte"))
ATTEMPTS = 3
PARTS = 2


@dataclass
class Known:
    """What the model knows of one prompt."""

    prompt: Prompt
    place: str = "lane"
    attempts: int = 0
    outcome: Outcome | None = None


@dataclass
class Task:
    """What the model knows of one task. ``done`` is final, dropped or settled; ``dead`` is final
    too, and may be revived.
    """

    id: str
    prompts: dict[int, Known] = field(default_factory=dict[int, Known])
    token: str = ""
    asked_by: str = ""
    retries: int = 0
    calls: int = 0
    done: bool = False
    dead: bool = False

    @property
    def waits(self) -> bool:
        return any(known.outcome is None for known in self.prompts.values())

    @property
    def may_run(self) -> bool:
        return not self.done and not self.dead and not self.waits


class Machine(RuleBasedStateMachine):
    tasks = Bundle("tasks")
    batches = Bundle("batches")

    def __init__(self, journal: Journal, server: Server, *, may_kill: bool) -> None:
        super().__init__()
        self.journal, self.redis = journal, journal.store.redis
        self.server, self.may_kill = server, may_kill
        self.redis.flushall()
        self.known: dict[str, Task] = {}
        self.sealed: dict[str, Lane] = {}
        self.origin: dict[str, str] = {}
        self.parts: Counter[str] = Counter()
        self.asked = self.answered = 0

    # What may happen

    @rule(target=tasks, lane=st.sampled_from(LANES), count=st.integers(1, 3))
    def capture(self, lane: Lane, count: int) -> str:
        task = Task(id=f"task{len(self.known)}")
        self.known[task.id] = task
        assert self._claim(task) == "CLAIMED"
        self._ask(task, lane, count)
        return task.id

    @rule(name=tasks)
    def capture_again(self, name: str) -> None:
        """The answer of Redis was lost, and the client sent the same capture once more."""
        task = self.known[name]
        word = self.journal.runs.capture(
            task.id,
            token=task.asked_by,
            message=message(task.id),
            prompts=[],
            next_number=task.calls,
        )
        assert word == ("LOST" if task.done else "ALREADY")

    @rule(name=tasks)
    def deliver_again(self, name: str) -> None:
        """A second message of a task that waits, or has ended, does nothing."""
        task = self.known[name]
        if not task.may_run:
            assert self._claim(task) == ("DONE" if task.done or task.dead else "WAITING")

    @rule(name=tasks, lane=st.sampled_from(LANES), count=st.integers(1, 2))
    def ask_on(self, name: str, lane: Lane, count: int) -> None:
        task = self.known[name]
        if task.may_run:
            assert self._claim(task) == "CLAIMED"
            self._ask(task, lane, count)

    @rule(name=tasks, times=st.integers(1, 3), lane=st.sampled_from(LANES))
    def die(self, name: str, times: int, lane: Lane) -> None:
        """Its worker is killed, so many times; then it asks on, or is buried."""
        task = self.known[name]
        if not task.may_run:
            return
        for _ in range(times):
            assert self._claim(task) == "CLAIMED"
            self.redis.delete(self.journal.store.task_lease_key(task.id))
        lease, claimed = claim(self.journal, task.id, retries=task.retries)
        task.token = lease.token
        if times < KILLS:
            assert claimed.word == "CLAIMED"
            self._ask(task, lane, 1)
            return
        assert claimed.word == "DEAD"
        options: Any = {"message": message(task.id), "state": "FAILURE"}
        assert self.journal.runs.bury(task.id, token="a stranger", **options) == "LOST"
        assert self.journal.runs.bury(task.id, token=lease.token, **options) == "BURIED"
        assert self.journal.runs.bury(task.id, token=lease.token, **options) == "LOST"
        task.dead = True

    @rule(name=tasks)
    def revive(self, name: str) -> None:
        task = self.known[name]
        assert self.journal.tasks.revive(name) == task.dead
        task.dead = False

    @rule()
    def kill_the_server(self) -> None:
        """What Redis has confirmed is there when it is back: each write is synced."""
        if self.may_kill:
            self.may_kill = False
            self.server.kill()
            self.server.start()

    @rule(name=tasks)
    def settle(self, name: str) -> None:
        """The run ends for good, and says so twice."""
        task = self.known[name]
        if task.may_run:
            assert self._claim(task) == "CLAIMED"
            assert self._settle(task, final=True) == "SETTLED"
            before = self.redis.hgetall(self.journal.store.task_key(task.id))
            assert self._settle(task, final=True) == "LOST"
            assert self.redis.hgetall(self.journal.store.task_key(task.id)) == before
            task.done = True
            task.prompts.clear()

    @rule(name=tasks, data=st.data(), lane=st.sampled_from(LANES))
    def retry(self, name: str, data: st.DataObject, lane: Lane) -> None:
        """The run fails, drops some of its answers, and the next one asks again."""
        task = self.known[name]
        if task.may_run:
            assert self._claim(task) == "CLAIMED"
            drop = data.draw(st.sets(st.sampled_from(sorted(task.prompts)))) if task.prompts else ()
            assert self._settle(task, final=False, ask_again=drop) == "SETTLED"
            for number in drop:
                del task.prompts[number]
            task.retries += 1
            assert self._claim(task) == "CLAIMED"
            self._ask(task, lane, 1)

    @rule(target=batches, lane=st.sampled_from(LANES), lines=st.integers(1, 4))
    def seal(self, lane: Lane, lines: int) -> Any:
        batch_id = f"batch{len(self.sealed)}"
        waiting = [known for known in self._all() if self._is_in(known, lane)]
        moved, full = self.journal.lanes.seal(
            lane, batch_id, limits=Limits(lines=lines), tokens=NO_LIMIT
        )
        assert (moved, full) == (min(lines, len(waiting)), len(waiting) > lines)
        if not moved:
            return multiple()
        self.sealed[batch_id] = lane
        ids = set(self.journal.lines.ids(batch_id))
        assert len(ids) == moved
        for known in waiting:
            if known.prompt.custom_id in ids:
                known.place = f"batch:{batch_id}"
                ids.remove(known.prompt.custom_id)
        assert not ids
        return batch_id

    @rule(target=batches, batch_id=batches, data=st.data())
    def split(self, batch_id: str, data: st.DataObject) -> Any:
        """Some of a batch go to a part of it, as long as parts may be made."""
        record = self.journal.batches.get(batch_id)
        assert record is not None
        part_id, origin = f"part{len(self.sealed)}", self.origin.get(batch_id, batch_id)
        lines = list(self.journal.lines.ids(batch_id))
        chosen = data.draw(st.lists(st.sampled_from(lines), min_size=1, unique=True))
        word = self.journal.batches.split(record, chosen, part_id, budget=PARTS)
        assert word == ("MOVED" if self.parts[origin] < PARTS else "SPENT")
        found = [self._find(custom_id) for custom_id in chosen]
        here = [one for one in found if one is not None and one.place == f"batch:{batch_id}"]
        if word == "SPENT" or not here:
            assert self.journal.batches.get(part_id) is None
            return multiple()
        for one in here:
            one.place = f"batch:{part_id}"
        part = self.journal.batches.get(part_id)
        assert part is not None
        assert (part.origin, part.lane, part.lines) == (origin, record.lane, len(here))
        assert part.tokens == sum(one.prompt.tokens for one in here)
        assert self.journal.batches.due_in(part_id) <= timedelta(0)
        self.origin[part_id], self.sealed[part_id] = origin, record.lane
        self.parts[origin] += 1
        return part_id

    @rule(batch_id=batches, use_attempt=st.booleans(), data=st.data())
    def requeue(self, batch_id: str, *, use_attempt: bool, data: st.DataObject) -> None:
        """Some of a batch go back to their lane; those elsewhere stay there."""
        record = self.journal.batches.get(batch_id)
        assert record is not None
        lines = list(self.journal.lines.ids(batch_id))
        chosen = data.draw(st.lists(st.sampled_from(lines), min_size=1, unique=True))
        words = self.journal.lanes.requeue(record, chosen, use_attempt=use_attempt)
        for custom_id in chosen:
            known = self._find(custom_id)
            if known is None or known.place != f"batch:{batch_id}":
                assert words[custom_id] == "ELSEWHERE"
            elif known.attempts + use_attempt >= ATTEMPTS:
                assert words[custom_id] == "EXHAUSTED"
            else:
                assert words[custom_id] == "REQUEUED"
                known.attempts += use_attempt
                known.place = "lane"

    @rule(name=tasks, data=st.data(), text=st.text(max_size=3), status=st.sampled_from([200, 500]))
    def answer(self, name: str, data: st.DataObject, text: str, status: int) -> None:
        """An answer: in time, late (its prompt is in its lane again), twice, or for nobody."""
        task = self.known[name]
        number = data.draw(st.integers(0, max(task.calls - 1, 0)))
        known = task.prompts.get(number)
        lane = known.prompt.lane if known is not None else LANE
        given = Outcome(status_code=status, body=json.dumps(text).encode())
        (word,) = self.journal.answers.add(lane, [(f"{task.id}-{number}", given)])
        if known is None:
            assert word == "UNKNOWN"
        elif known.outcome is not None:
            assert word == "ALREADY"
        else:
            known.outcome, known.place = given, "answered"
            self.answered += 1
            assert word == ("ANSWERED" if task.waits else "READY")

    @precondition(lambda self: self.known)
    @rule(name=tasks)
    def drop(self, name: str) -> None:
        task = self.known[name]
        if task.dead:
            return  # It has ended for Celery already, and rescue has no business with it.
        self.journal.tasks.drop(task.id)
        task.done = True
        task.prompts.clear()

    # What always holds

    @invariant()
    def every_prompt_is_where_it_is(self) -> None:
        for task in self.known.values():
            raw = self.redis.hgetall(self.journal.store.task_key(task.id))
            found = {name.partition(b":")[0] for name in raw if name.endswith(b":place")}
            assert found == {str(number).encode() for number in task.prompts}
            for number, known in task.prompts.items():
                assert raw[f"{number}:place".encode()] == known.place.encode()
                kept = raw.get(f"{number}:outcome".encode())
                assert (None if kept is None else Outcome.from_bytes(kept)) == known.outcome

    @invariant()
    def a_lane_holds_what_waits_in_it_and_nothing_else(self) -> None:
        for lane in LANES:
            waiting = [known.prompt for known in self._all() if self._is_in(known, lane)]
            key, totals = self.journal.store.lane_keys(lane)
            members = {member.decode() for member in self.redis.zrange(key, 0, -1)}
            assert members == {each.custom_id for each in waiting}
            sums = {name: int(value) for name, value in self.redis.hgetall(totals).items()}
            expected = {
                b"bytes": sum(each.size for each in waiting),
                b"tokens": sum(each.tokens for each in waiting),
            }
            assert sums == (expected if waiting else {})

    @invariant()
    def a_batch_lists_all_prompts_that_are_in_it(self) -> None:
        listed = {batch_id: set(self.journal.lines.ids(batch_id)) for batch_id in self.sealed}
        for known in self._all():
            if known.place.startswith("batch:"):
                assert known.prompt.custom_id in listed[known.place.removeprefix("batch:")]

    @invariant()
    def every_task_waits_or_may_go_on_or_has_ended(self) -> None:
        alive = [task for task in self.known.values() if not task.done]
        waiting = {
            member.decode()
            for member in self.redis.zrange(self.journal.store.key("waiting"), 0, -1)
        }
        going = {
            member.decode()
            for member in self.redis.zrange(self.journal.store.key("resuming"), 0, -1)
        }
        dead = {task_id for task_id, _ in self.journal.tasks.dead()}
        assert waiting == {task.id for task in alive if task.waits}
        assert going == {task.id for task in alive if not task.waits and not task.dead}
        assert dead == {task.id for task in alive if task.dead}
        counters = self.journal.tallies.counters()
        assert counters.get("captured", 0) == self.asked
        assert counters.get("answered", 0) == self.answered

    @invariant()
    def nothing_stays_for_ever(self) -> None:
        assert keys_without_end(self.redis, documented=DOCUMENTED) == []

    # The model

    def _claim(self, task: Task) -> str:
        lease, claimed = claim(self.journal, task.id, retries=task.retries)
        if claimed.word == "CLAIMED":
            task.token = lease.token
            assert claimed.next_number == task.calls
            assert {entry.number: entry.outcome for entry in claimed.entries} == {
                number: known.outcome for number, known in task.prompts.items()
            }
        return claimed.word

    def _ask(self, task: Task, lane: Lane, count: int) -> None:
        prompts = [prompt(task.id, task.calls + at, lane=lane) for at in range(count)]
        task.calls += count
        self.asked += count
        word = self.journal.runs.capture(
            task.id,
            token=task.token,
            message=message(task.id),
            prompts=prompts,
            next_number=task.calls,
        )
        assert word == "CAPTURED"
        task.asked_by = task.token
        task.prompts.update({each.number: Known(each) for each in prompts})

    def _settle(self, task: Task, *, final: bool, ask_again: Any = ()) -> str:
        state = "SUCCESS" if final else "RETRY"
        return self.journal.runs.settle(
            task.id, token=task.token, state=state, final=final, ask_again=ask_again
        )

    def _all(self) -> list[Known]:
        return [known for task in self.known.values() for known in task.prompts.values()]

    def _is_in(self, known: Known, lane: Lane) -> bool:
        return known.place == "lane" and known.prompt.lane == lane

    def _find(self, custom_id: str) -> Known | None:
        task_id, _, number = custom_id.rpartition("-")
        return self.known[task_id].prompts.get(int(number))


def test_the_journal_does_what_its_model_does(tmp_path: Path) -> None:
    server = Server(ReservedPort(), tmp_path, "--appendfsync", "always")
    try:
        run_machine(server)
    finally:
        server.stop()


def run_machine(server: Server) -> None:
    # A kill in every third history: each costs a start of the server.
    histories = itertools.count()
    redis_url = server.url
    app: Celery[Any] = Celery("properties", set_as_current=False)
    app.conf.update(batchq_redis_url=redis_url, batchq_max_attempts=ATTEMPTS)
    with redis.Redis.from_url(redis_url) as client:
        journal = Journal(Store(client, settings(app)))
        run_state_machine_as_test(
            cast(
                "type[Machine]",
                lambda: Machine(journal, server, may_kill=next(histories) % 3 == 0),
            ),
            settings=hypothesis_settings(
                max_examples=80,
                stateful_step_count=30,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
