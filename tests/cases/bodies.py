"""Bodies drawn at random get the answers to their own questions, and pay for each of them once.

A body is a little program: questions one after the other and side by side, in threads and pools and
coroutines, caches that live in the process, conditionals on answers, `once`, `live`, retries, loops
that try again on whatever is raised. The emulator's answer to a question is known beforehand, so
each body holds every answer against its question. Between the runs processes are killed, messages
are delivered twice, files are read twice, and answers come that belong to earlier questions.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery.worker.request import Request
from openai import AsyncOpenAI, OpenAI

import batchq
from batchq.emulator.answers import answer as answer_to
from batchq.flow.resume import answer, resume
from batchq.journal import BatchRecord
from batchq.prompt import Outcome
from tests.capture.bench import MODEL, Bench, ask, ask_async, user

client = OpenAI()
async_client = AsyncOpenAI()

Op = list[Any]
Pair = tuple[str, str]
"""A question and the answer that the body was given."""

COMMON = ["what everybody asks", "what many ask", "what some ask"]
POOLS = [ThreadPoolExecutor(2)]
"""One that outlives the bodies; a forked process needs another, for threads stay behind."""


ECHO = "Summarise: "
"""Before a text it has the emulator say the text."""


@functools.cache
def expected(text: str) -> str:
    return str(completion_of(text)["choices"][0]["message"]["content"])


def completion_of(text: str) -> dict[str, Any]:
    body = {"model": MODEL, "messages": user(ECHO + text)}
    made: dict[str, Any] = answer_to("/v1/chat/completions", body, created=0)
    return made


def put(text: str) -> str:
    return ask(client, ECHO + text)


async def put_async(text: str) -> str:
    return await ask_async(async_client, ECHO + text)


# A body, drawn


def draw(luck: random.Random, name: str) -> list[Op]:
    words = (f"{name}.{number}" for number in range(1_000))
    program = [_op(luck, words, depth=0) for _ in range(luck.choice([1, 1, 1, 2]))]
    for extra, chance in (("kept", 0.08), ("bad", 0.06), ("kill", 0.02)):
        if luck.random() < chance:
            program.insert(luck.randint(0, len(program)), [extra, next(words)])
    return program


def _op(luck: random.Random, words: Iterator[str], depth: int) -> Op:
    kinds = "ask twice cached gather async pool thread once drawn live stubborn".split()
    kind = luck.choice([*kinds, *(["if"] if depth < 1 else [])])
    if kind == "cached":
        return [kind, luck.choice(COMMON)]
    if kind in {"gather", "async", "pool"}:
        return [kind, [next(words) for _ in range(luck.randint(2, 4))]]
    if kind == "if":
        branches = [[_op(luck, words, depth + 1)] for _ in range(2)]
        return [kind, next(words), *branches]
    return [kind, next(words)]


# A body, run


class Interpreter:
    """Runs a program with whatever answers a question; a cache may outlive it."""

    def __init__(self, ask: Callable[[str], str], cache: dict[str, str], task: Any = None) -> None:
        self.ask, self.cache, self.task = ask, cache, task
        self.pairs: list[Pair] = []

    def run(self, program: list[Op]) -> list[Pair]:
        for kind, *what in program:
            getattr(self, f"_{kind}")(*what)
        return self.pairs

    def _note(self, text: str, said: str) -> str:
        self.pairs.append((text, said))
        return said

    def _ask(self, text: str) -> str:
        return self._note(text, self.ask(text))

    def _twice(self, text: str) -> None:
        for _ in range(2):
            self._ask(text)

    def _cached(self, text: str) -> None:
        if text not in self.cache:
            self.cache[text] = self.ask(text)
        self._note(text, self.cache[text])

    def _if(self, text: str, yes: list[Op], no: list[Op]) -> None:
        self.run(yes if sum(map(ord, self._ask(text))) % 2 else no)

    def _gather(self, texts: list[str]) -> None:
        self._note_all(texts, batchq.gather(*(functools.partial(self.ask, t) for t in texts)))

    def _async(self, texts: list[str]) -> None:
        async def together() -> list[str]:
            return list(await asyncio.gather(*map(put_async, texts)))

        in_a_run = self.task is not None
        self._note_all(texts, asyncio.run(together()) if in_a_run else map(self.ask, texts))

    def _pool(self, texts: list[str]) -> None:
        self._note_all(texts, POOLS[-1].map(self.ask, texts))

    def _note_all(self, texts: list[str], answers: Any) -> None:
        for text, said in zip(texts, answers, strict=True):
            self._note(text, said)

    def _thread(self, text: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            self._note(text, pool.submit(self.ask, text).result())

    def _once(self, text: str) -> None:
        self._note(text, batchq.once(self.ask, text))

    def _drawn(self, text: str) -> None:
        number = batchq.once(random.randrange, 1_000_000) if self.task is not None else 0
        self._ask(f"{text} with {number}")

    def _live(self, text: str) -> None:
        if self.task is None:
            return
        with batchq.live():
            self._ask(text)

    def _stubborn(self, text: str) -> None:
        for _ in range(3):
            try:
                self._ask(text)
            except BaseException as error:  # noqa: BLE001 as such bodies do
                last: BaseException | None = error
            else:
                return
        if last is not None:
            raise last

    def _kept(self, text: str) -> None:
        self._retry(text, ConnectionError("the database is away"))

    def _bad(self, text: str) -> None:
        self._retry(text, ValueError("that is no answer"))

    def _retry(self, text: str, error: Exception) -> None:
        self._ask(text)
        if self.task is not None and self.task.request.retries == 0:
            raise self.task.retry(exc=error, countdown=0)

    def _kill(self, text: str) -> None:
        self._ask(f"{text} before")
        if self.task is not None and self.task.app.backend.client.set(text, 1, nx=True):
            os._exit(9)
        self._ask(f"{text} after")


# Many of them


class Crowd:
    """Many bodies on one bench, and what each has paid for."""

    def __init__(self, bench: Bench, luck: random.Random) -> None:
        self.bench, self.luck = bench, luck
        self.cache: dict[str, str] = {}
        self.paid: dict[str, str] = {}
        """Custom id -> the question that was asked under it, over all batches."""
        self.old: list[Any] = []

        @bench.task(bind=True, max_retries=1)
        def body(task: Any, program: list[Op]) -> list[Pair]:
            return Interpreter(put, self.cache, task).run(program)

        self.body = body

    def run(self, programs: list[list[Op]]) -> list[Any]:
        results = [self.bench.send(self.body, program) for program in programs]
        for _ in range(60):
            self.deliver()
            self.note_what_waits()
            if all(result.state in {"SUCCESS", "FAILURE"} for result in results):
                return results
            if self.luck.random() < 0.3:
                self.bench.emulator.fault("content_cut", at=self.luck.random(), times=1)
            self.bench.answer()
            self.answer_late()
        raise AssertionError([result.state for result in results])

    def deliver(self) -> None:
        """Run what is in the queue, some of it twice, some of it long after its time."""
        with self.bench.app.connection_for_read() as connection:
            queue = self.bench.app.amqp.queues["celery"](connection.default_channel)
            queue.declare()
            while (message := queue.get(no_ack=True)) is not None:
                self.execute(message)
                if self.luck.random() < 0.05:
                    self.execute(message)
                if self.luck.random() < 0.05:
                    self.old.append(message)
                if self.old and self.luck.random() < 0.05:
                    self.execute(self.old.pop())

    def execute(self, message: Any) -> None:
        request = Request(message, app=self.bench.app, hostname="bench")
        if '"kill"' not in json.dumps(message.decode()):
            request.execute()
            return
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            POOLS.append(ThreadPoolExecutor(2))
            request.execute()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            assert os.waitstatus_to_exitcode(status) == 9
            # Its lease runs out, and its message is delivered again.
            journal = self.bench.journal
            journal.store.redis.delete(journal.store.key(f"lease:task:{request.id}"))
            self.execute(message)

    def note_what_waits(self) -> None:
        journal = self.bench.journal
        for lane in journal.lanes.all():
            ids: list[bytes] = journal.store.redis.zrange(
                journal.store.lane_keys(lane.lane)[0], 0, -1
            )
            for custom_id in map(bytes.decode, ids):
                task_id, _, number = custom_id.rpartition("-")
                asked = json.loads(journal.tasks.body_of(task_id, int(number)) or b"")
                text = asked["messages"][0]["content"].removeprefix(ECHO)
                # Asked again without a row: the same question under the same id.
                assert self.paid.setdefault(custom_id, text) == text

    def answer_late(self) -> None:
        """Rows of batches that are over come once more, for whoever would take them."""
        batches: list[BatchRecord] = self.bench.journal.batches.closed(5)
        outcome = Outcome(status_code=200, body=json.dumps(completion_of("wrong")).encode())
        for batch in batches:
            ids = list(self.bench.journal.lines.ids(batch.id))
            answer(self.bench.app, batch.lane, [(one, outcome) for one in ids], batch=batch.id)
        resume(self.bench.app, [])


def run_many(bench: Bench, seed: int, bodies: int) -> None:
    luck = random.Random(seed)
    crowd = Crowd(bench, luck)
    programs = [draw(luck, f"{seed}:{number}") for number in range(bodies)]
    results = crowd.run(programs)
    for program, result in zip(programs, results, strict=True):
        assert result.state == "SUCCESS", (program, result.result)
        for text, said in result.result:
            assert said == expected(text), (program, text)
        model = Interpreter(expected, {}).run(program)
        asked = Counter(text.partition(" with ")[0] for text, _ in model)
        mine = [text for custom_id, text in crowd.paid.items() if custom_id.startswith(result.id)]
        paid = Counter(text.partition(" with ")[0] for text in mine)
        anew = any(kind == "bad" for kind, *_ in program)
        for text, times in (paid | asked).items():
            most = asked[text] * (2 if anew else 1)
            least = 0 if text in COMMON else asked[text]
            assert least <= paid[text] <= most or text in COMMON, (program, text, times)
    assert bench.emulator.ledger()["duplicates"] == {}
