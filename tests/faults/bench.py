"""A bench: servers and processes on which one case after the other is played, and its books held.

A case: the journey is sent, one process is cut off (or Redis is) at its point, whoever watches
over processes starts it again, and when all is quiet every invariant must hold.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from openai import OpenAI

from batchq.journal import connected
from batchq.overview import status
from tests import harness
from tests.faults import app as faults
from tests.faults.catalogue import Case, ProviderCase, Verdict
from tests.faults.nursery import Child, Nursery
from tests.harness import Emulator, ReservedPort, Server, keys_without_end, wait_until
from tests.journals import DOCUMENTED

PATIENCE = 120.0
_STALLED = 25.0
_WORKER = "--without-mingle --without-gossip --loglevel info".split()
_QUEUES = {"user": "celery", "ours": "batchq"}
_JOURNEY = ("single", "double", "member", "again", "chord")
#: Who is not there, until the point is reached.
_ABSENT = {
    "deaf": ("user",),
    "alone": ("user", "beat"),
    "revoked": ("ours", "beat"),
}
_ENDS_ELSE = {("revoked", "single"): "REVOKED", ("poison", "poison"): "FAILURE"}
#: What Celery, kombu and this bench write.
_OTHERS = ("celery-task-meta-", "celery-taskset-meta-", "_kombu.", "unacked", "test:")
_SETTINGS: dict[str, dict[str, Any]] = {
    "stuck": {"batchq_batch_deadline": 1.5},
    # So that the three prompts of one lane share a batch: one of a single line is not split.
    "split": {"batchq_flush_prompts": 3, "batchq_flush_after": 4},
}
#: Where a process that was paused may have made a batch that another had made already.
_AMBIGUOUS = {("create.call", "pause")}


class Bench:
    """Plays cases. Its Redis writes each command to disk before it answers."""

    def __init__(self, server: Server, emulator: Emulator, directory: Path) -> None:
        self.server = server
        self.emulator = emulator
        self.directory = directory
        self.nursery = Nursery(directory / "nursery.log")
        self.expected = faults.expected()

    def stop(self) -> None:
        self.nursery.stop()

    def play(self, case: Case | ProviderCase) -> Verdict:
        _forget_journals()
        self.server.client.flushall()
        self.emulator.reset()
        folder = self.directory / f"{uuid.uuid4().hex[:6]} {case.name}".replace(" ", "-")
        folder.mkdir()
        verdict = Verdict(case=case, logs=folder)
        kind = _ProviderScene if isinstance(case, ProviderCase) else _Scene
        scene = kind(self, case, folder)
        began = time.monotonic()
        try:
            scene.play(verdict)
        except Exception as error:  # noqa: BLE001 a case that cannot be played is one that is wrong
            verdict.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            for child in scene.born:
                child.kill()
            if self.server.exit_code is not None:
                self.server.start()
        verdict.seconds = time.monotonic() - began
        return verdict


class _Scene:
    """One case under way."""

    def __init__(self, bench: Bench, case: Any, folder: Path) -> None:
        self.bench = bench
        self.case = case
        self.folder = folder
        self.proof = folder / "fired"
        # redis-py types a reply as everything that any server might answer.
        self.redis: Any = bench.server.client
        self.emulator = bench.emulator
        self.children: dict[str, Child] = {}
        self.born: list[Child] = []
        self.other: Child | None = None
        self.sleeper: Child | None = None
        self.ids = {name: uuid.uuid4().hex for name in (*_JOURNEY, "slow", "poison")}
        self.story = case.point.story
        alone = {"twice": "slow", "poison": "poison"}.get(self.story)
        self.sent = (alone,) if alone else _JOURNEY
        self.wanted = (alone,) if alone else faults.NAMES
        # The one that is revoked is never run; nor is the second call where nothing goes on.
        self.prompts = {"twice": 1, "poison": 0, "revoked": 4}.get(self.story, 5)

    # Processes

    def start(self, who: str, *, armed: bool = False) -> Child:
        name = f"{who}{len(self.born) + 1}"
        if who in _QUEUES:
            # Where Redis dies, a solo worker publishes a task's link on the channel that its
            # consumer has just lost; a prefork child has one of its own.
            alone = who == "ours" or self.case.dies != "redis"
            pool = "--pool solo" if alone else "--pool prefork --concurrency 1"
            node = f"{name}@{self.folder.name}"
            argv = ["worker", *pool.split(), *_WORKER, "-Q", _QUEUES[who], "-n", node]
        elif who == "beat":
            argv = ["beat", "-s", str(self.folder / name), "--loglevel", "info"]
        else:
            argv = ["produce", json.dumps({name: self.ids[name] for name in self.sent})]
        order = ""
        if armed:
            what = {"kill": "kill", "pause": "stop", "redis": "wait"}[self.case.dies]
            order = f"{self.case.point.name}:{self.case.nth}:{what}:{self.proof}"
        child = self.bench.nursery.start(
            name,
            self.folder / f"{name}.log",
            argv,
            crash_at=order,
            settings=_SETTINGS.get(self.story, {}),
        )
        self.born.append(child)
        return child

    def watch(self) -> None:
        """What any deployment does: start again what has ended."""
        for who, child in self.children.items():
            if who != "producer" and not child.runs:
                self.children[who] = self.start(who)

    # The case

    def play(self, verdict: Verdict) -> None:
        self.set_the_stage()
        wait_until(self._fires, description=f"{self.case.point.name} is reached", timeout=PATIENCE)
        verdict.fired = True
        fired_at = time.monotonic()
        self.cut()
        self.lift()
        if self.case.dies == "redis":
            self._help_celery(verdict)
        self.until(self._all_ended, "all tasks have ended")
        verdict.recovery = time.monotonic() - fired_at
        self.wake_the_sleeper()
        self.until(self._is_quiet, "nothing is under way")
        self.look(verdict)

    def set_the_stage(self) -> None:
        self._arm_the_provider()
        if self.story == "twice":
            self.redis.set("test:hold", 1)
            self.start("producer")
            self.other = self.start("user")
            wait_until(lambda: self.redis.get("test:held"), description="it runs")
            for _ in range(2):
                self.start("producer")
        elif self.story == "back":
            self._ask()
        armed = self.case.point.who
        for who in ("ours", "user", "beat"):
            if who not in _ABSENT.get(self.story, ()):
                self.children[who] = self.start(who, armed=who == armed)
        if self.story == "deaf":
            self.other = self.start("user")
        if self.story != "back":
            self.children["producer"] = self.start("producer", armed=armed == "producer")
        if self.story == "revoked":
            wait_until(self._has_asked, description="all have asked")
            self.revoke()

    stuck: int | None = 2
    """How many batches get stuck in the story of that name; None is all of them."""

    def _arm_the_provider(self) -> None:
        arm = self.emulator.fault
        if self.story == "stuck":
            arm("stuck_in_progress", at=0, times=self.stuck)
        elif self.story == "slow":
            arm("slow", call="create", seconds=1.5, times=2)
        elif self.story == "strange":
            arm("unknown_status", polls=2, times=None)
        elif self.story == "split":
            arm("invalid_line", containing=f"{faults.CANARY} member", numbered=False, times=None)
        elif self.story == "poor":
            arm("no_credit")
        elif self.story == "journey":
            arm("rows_500", containing=faults.AGAIN, times=None)

    def _ask(self) -> None:
        """All tasks are run once, by a worker that is gone then."""
        self.start("producer")
        first = self.start("user")
        wait_until(self._has_asked, description="all have asked")
        first.kill()

    def _has_asked(self) -> bool:
        return int(self.redis.zcard("{batchq}:waiting")) == 4

    def revoke(self) -> None:
        faults.app.control.revoke(self.ids["single"])

    def _fires(self) -> bool:
        if self.proof.exists():
            return True
        if self.story == "journey" and self.emulator.fired("rows_500") >= 2:
            self.emulator.lift("rows_500")
        elif self.story == "poor" and self.emulator.fired("no_credit") >= 2:
            self.emulator.lift("no_credit")
        elif self.story == "deaf":
            self._nobody_takes()
        elif self.story == "lost":
            self._messages_are_lost()
        elif self.story == "poison" and not self.children["user"].runs:
            self.children["user"] = self.start("user", armed=True)
        return False

    def _nobody_takes(self) -> None:
        """The tasks that have asked are resumed, and their messages stay where they are."""
        if self.other is not None and self.redis.zcard("{batchq}:waiting") >= 4:
            self.other.kill()
            self.other = None
        for task_id in self.redis.zrange("{batchq}:resuming", 0, -1):
            # As ten minutes later.
            self.redis.zadd("{batchq}:resuming", {task_id: 1}, xx=True)

    def _messages_are_lost(self) -> None:
        """What comes with another chain than the record's ends there."""
        for key in self.redis.scan_iter(match="{batchq}:batch:*"):
            if self.redis.hget(key, "state") == "submitted":
                self.redis.hset(key, "chain", "lost")

    def cut(self) -> None:
        who = self.case.point.who
        if self.case.dies == "redis":
            said = len(self.children[who].output())
            self.bench.server.kill()
            self.proof.unlink()
            if self.case.nth == 2:
                wait_until(
                    lambda: self._has_given_up(said), description="every retry of it has failed"
                )
            self.bench.server.start()
            if who == "producer":
                wait_until(
                    lambda: not self.children[who].runs, description="the producer has ended"
                )
                self.children[who] = self.start(who)
            return
        child = self.children[who]
        if self.case.dies == "pause":
            self.sleeper, self.children[who] = child, self.start(who)
            return
        wait_until(lambda: not child.runs, description="the process is gone", every=0.01)
        self.children[who] = self.start(who)

    def _has_given_up(self, said: int) -> bool:
        """Whether the process that was at the point has told, since then, that Redis is gone."""
        child = self.children[self.case.point.who]
        return not child.runs or "Connection refused" in child.output()[said:]

    def lift(self) -> None:
        """The world is in order again; only what was cut off is not."""
        self.emulator.lift("rows_500")
        self.emulator.lift("invalid_line")
        self.emulator.lift("no_credit")
        self.redis.delete("test:hold")
        if self.other is not None and self.story == "deaf":
            self.other.kill()
        if self.case.point.name == "revoke.call" and self.case.dies in {"kill", "pause"}:
            # The command went to the one that was cut off, and nobody else had heard it.
            heard = self.children["user"]
            wait_until(lambda: " ready." in heard.output(), description="a worker listens")
            self.revoke()
            wait_until(self._is_revoked, description="it is revoked")
        for who in ("user", "ours", "beat"):
            # Without beat the ticks are those of its stand-in, to the end.
            if who not in self.children and (self.story, who) != ("alone", "beat"):
                self.children[who] = self.start(who)

    def _is_revoked(self) -> bool:
        return bool(self.results()["single"]["status"] == "REVOKED")

    def _help_celery(self, verdict: Verdict) -> None:
        """What nobody else can do for a Celery whose Redis was killed: a worker that takes nothing
        any more is started again, and a task whose first message went down with Redis, unknown to
        the journal, is sent again under its id.
        """
        with contextlib.suppress(AssertionError):
            self.until(self._all_ended, "all tasks have ended", _STALLED)
            return
        unknown = [
            name
            for name, result in self.results().items()
            if result["status"] == "PENDING" and name != "chord"
            if not self.redis.exists(f"{{batchq}}:task:{self.ids[name]}")
        ]
        verdict.by_celery += len(unknown)
        if self.redis.llen("celery"):
            verdict.by_celery += 1
            self.children["user"].kill()
        self.start("producer")

    def wake_the_sleeper(self) -> None:
        sleeper = self.sleeper
        if sleeper is None:
            return
        sleeper.signal(signal.SIGCONT)
        # It ends what it was doing.
        sleeper.signal(signal.SIGTERM)
        wait_until(lambda: not sleeper.runs, description="the sleeper has ended its work")

    def until(
        self, condition: Callable[[], bool], description: str, timeout: float = PATIENCE
    ) -> None:
        def asked() -> bool:
            self.watch()
            with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                return condition()
            return False

        wait_until(asked, description=description, timeout=timeout, every=0.1)

    # What is to be seen

    def results(self) -> dict[str, dict[str, Any]]:
        raw = self.redis.mget([f"celery-task-meta-{self.ids[name]}" for name in self.wanted])
        found = [json.loads(one) if one else {"status": "PENDING"} for one in raw]
        return dict(zip(self.wanted, found, strict=True))

    def _all_ended(self) -> bool:
        ended = {"SUCCESS", "FAILURE", "REVOKED"}
        return all(one["status"] in ended for one in self.results().values())

    def _is_quiet(self) -> bool:
        now = status(faults.app)
        if now.waiting or now.batches or now.tasks_waiting or now.tasks_resuming:
            return False
        held = [json.loads(one)[2] for one in self.redis.hvals("unacked")]
        return not self.redis.llen("celery") and "celery" not in held

    # The invariants

    def look(self, verdict: Verdict) -> None:
        self._look_at_results(verdict)
        self._look_at_ends(verdict)
        self._look_at_batches(verdict)
        self._look_at_bill(verdict)
        verdict.wrong += self._leaks()

    def _look_at_results(self, verdict: Verdict) -> None:
        for name, result in self.results().items():
            if (self.story, name) in _ENDS_ELSE:
                if result["status"] != _ENDS_ELSE[self.story, name]:
                    verdict.wrong.append(f"{name} is {result['status']}")
            elif self.may_fail and result["status"] == "FAILURE":
                continue
            elif result["status"] == "FAILURE" and self._failed_by_celery():
                verdict.by_celery += 1
            elif result["status"] != "SUCCESS":
                verdict.lost += 1
                verdict.wrong.append(f"{name} is {result['status']}: {result.get('result')}")
            elif result["result"] != self.bench.expected[name]:
                verdict.wrong_answers += 1
                verdict.wrong.append(f"{name} has a wrong answer")

    def _failed_by_celery(self) -> bool:
        """Redis died as Celery stored a result or published a link: without Batchq as with it, the
        task whose body has ended fails.
        """
        logs = [child.read_text(errors="replace") for child in self.folder.glob("user*.log")]
        outside = any("Exception raised outside body" in text for text in logs)
        return outside and bool(self.case.dies == "redis")

    def _look_at_ends(self, verdict: Verdict) -> None:
        counted = [(f"test:success:{self.ids[name]}", name) for name in self.wanted]
        counted += [(f"test:tally:{name}", f"the link of {name}") for name in self.wanted]
        for key, name in counted:
            times = int(self.redis.scard(key))
            if times > 1 and self._is_celerys_own_publish:
                verdict.by_celery += 1
            elif times > 1:
                verdict.twice += 1
                verdict.wrong.append(f"{name} ended {times} times")

    @property
    def _is_celerys_own_publish(self) -> bool:
        """Between a task's link and its result, where any worker that dies leaves both to be done
        again.
        """
        return bool(self.case.point.who == "user" and self.case.point.verb == "publish")

    def _look_at_batches(self, verdict: Verdict) -> None:
        sealed = {
            key.rpartition(":")[2]: self.redis.hget(key, "provider_id")
            for key in self.redis.scan_iter(match="{batchq}:batch:*")
        }
        with OpenAI(max_retries=0) as client:
            made = list(client.batches.list(limit=100))
        by_seal = Counter((batch.metadata or {}).get("batchq", "") for batch in made)
        for seal, count in by_seal.items():
            verdict.extra += count - 1
            if seal not in sealed:
                verdict.wrong.append(f"a batch of nobody: {seal}")
            elif count > 2 or (count == 2 and not self.is_ambiguous):
                verdict.wrong.append(f"{count} batches for one seal")
            for batch in made:
                if (batch.metadata or {}).get("batchq") == seal and batch.id != sealed.get(seal):
                    verdict.wrong += [] if count > 1 else [f"{batch.id} is not the adopted one"]

    @property
    def is_ambiguous(self) -> bool:
        """Whether nobody could know that the batch was made already."""
        return (self.case.point.name, self.case.dies) in _AMBIGUOUS

    @property
    def may_fail(self) -> bool:
        return False

    def _look_at_bill(self, verdict: Verdict) -> None:
        ledger = self.emulator.ledger()
        paid = {custom_id: line["ok"] for custom_id, line in ledger["lines"].items()}
        if len(paid) != self.prompts and not self.may_fail:
            verdict.wrong.append(f"{len(paid)} prompts were run, not {self.prompts}")
        twice = sum(times - 1 for times in paid.values() if times > 1)
        if twice and not verdict.extra:
            verdict.wrong.append(f"{twice} prompts were paid for twice")
        if ledger["live_calls"]:
            verdict.wrong.append(f"{ledger['live_calls']} live calls")

    def _leaks(self) -> Iterator[str]:
        for log in self.folder.glob("*.log"):
            text = log.read_text(errors="replace")
            if harness.API_KEY in text:
                yield f"the key is in {log.name}"
            if faults.CANARY in text:
                yield f"a prompt is in {log.name}"
        for key in keys_without_end(self.redis, documented=(*DOCUMENTED, "epoch")):
            yield f"{key} has no end"
        for key in self.redis.scan_iter(count=1000):
            known = key.startswith(("{batchq}:", *_OTHERS)) or key in {"celery", "batchq"}
            if not known:
                yield f"{key} is nobody's"


class _ProviderScene(_Scene):
    """One case in which a call of the provider fails, and nobody dies."""

    case: ProviderCase
    stuck = None

    def play(self, verdict: Verdict) -> None:
        first = _BEFORE.get(self.case.call)
        if first is not None:
            # One look each, where the look itself succeeds.
            self.emulator.fault(first, times=max(1, self.case.times))
        options = dict(self.case.options)
        lasts = self.case.fault == "list_lag"
        if not lasts:
            options["times"] = self.case.times or None
        self.emulator.fault(self.case.fault, **options)
        self.set_the_stage()
        if not lasts:
            self.until(self._is_met, "the fault is met")
        verdict.fired = True
        fired_at = time.monotonic()
        if not self.case.times:
            self._hold(verdict)
        if not lasts:
            self.emulator.lift(self.case.fault)
        self.emulator.lift("stuck_in_progress")
        self.until(self._all_ended, "all tasks have ended")
        verdict.recovery = time.monotonic() - fired_at
        self.until(self._is_quiet, "nothing is under way")
        self.emulator.clear()
        self.look(verdict)

    def _is_met(self) -> bool:
        return self.emulator.fired(self.case.fault) >= max(1, self.case.times)

    def _hold(self, verdict: Verdict) -> None:
        """Let it fail for long: in vain, but neither in a hurry nor at the cost of an attempt."""
        before, until = self.emulator.fired(self.case.fault), time.monotonic() + _LONG
        self.until(lambda: time.monotonic() > until, "it has failed for long")
        calls = self.emulator.fired(self.case.fault) - before
        # Each of at most four batches, at the pace of `batchq_poll_first`.
        if calls > 4 * (_LONG / 0.15 + 1):
            verdict.wrong.append(f"{calls} calls in {_LONG} s")
        if self.case.call in {"upload", "create", "list", "list_files"}:
            for key in self.redis.scan_iter(match="{batchq}:task:*"):
                names = [one for one in self.redis.hkeys(key) if one.endswith(":attempts")]
                if any(self.redis.hget(key, name) != "0" for name in names):
                    verdict.wrong.append("an attempt is used up")

    @property
    def is_ambiguous(self) -> bool:
        return self.case.fault == "list_lag" and dict(self.case.options)["seconds"] > 1.5

    @property
    def may_fail(self) -> bool:
        return self.case.is_refusal


_LONG = 3.0
#: Without these nobody looks for what was made.
_BEFORE = {"list": "create_drop_after", "list_files": "upload_drop_after"}


def _forget_journals() -> None:
    """What this process remembers of a Redis that is emptied."""
    connected._journals.clear()


@contextlib.contextmanager
def a_bench(
    redis_port: ReservedPort, emulator_port: ReservedPort, directory: Path
) -> Iterator[Bench]:
    """A bench with servers of its own, on the ports that the environment names already."""
    server = Server(redis_port, directory, "--appendfsync", "always")
    emulator = Emulator(emulator_port, *FAST)
    emulator.start()
    try:
        bench = Bench(server, emulator, directory)
        try:
            yield bench
        finally:
            bench.stop()
    finally:
        emulator.stop()
        server.stop()


FAST = ("--validate-seconds", "0.02", "--run-seconds", "0.1", "--finalize-seconds", "0.02")
