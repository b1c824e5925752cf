"""What Batchq adds to a task: throughput against plain Celery, the cost of a replay, and memory.

    python -m benchmarks.capture [--tasks 2000] [--rounds 3]

One prefork worker with two processes takes tasks that wait in its queue already. Each round runs
a task that does nothing, one that ends with Celery's Ignore (which is how a capture must end), and
a batched one: its capture, and its way back from the answer to the result. The answers are given
to the journal directly, so no provider is in the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, cast

import redis

from batchq import Limits
from benchmarks.services import NOBODY_ASKED, machine, valkey, wait, worker

if TYPE_CHECKING:
    from batchq.prompt import Outcome

ANSWER = {
    "id": "chatcmpl-benchmark",
    "object": "chat.completion",
    "created": 1_760_000_000,
    "model": "gpt-5.6-luna",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "word " * 100, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 250, "completion_tokens": 100, "total_tokens": 350},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", action="store_true", help="workers send events, as for Flower")
    options = parser.parse_args()
    os.environ |= NOBODY_ASKED
    with tempfile.TemporaryDirectory() as directory, valkey(Path(directory)) as url:
        os.environ["REDIS_URL"] = url
        say(f"{machine()}; {options.tasks:,} tasks, {options.rounds} rounds, medians")
        events = ["--task-events"] if options.events else []
        words = ("--concurrency", "2", "--queues", "idle", *events)
        with worker("benchmarks.app", Path(directory), *words):
            throughput(options.tasks, options.rounds)
        replay()
        elsewhere()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# Throughput


def throughput(tasks: int, rounds: int) -> None:
    bench = Bench(tasks)
    found = bench.rounds(rounds)
    plain = found["does nothing"]
    for name, seconds in found.items():
        ratio = of(plain, seconds)
        say(f"{name:28} {tasks / median(seconds):7.0f} tasks/s  {ratio:6.2f} of plain")
    ways = zip(found["capture"], found["resume"], strict=True)
    both = [there + back for there, back in ways]
    say(
        f"{'capture and resume':28} {tasks / median(both):7.0f} tasks/s  "
        f"{of(plain, both):6.2f} of plain"
    )
    say(f"a capture runs at {of(found['ends with Ignore'], found['capture']):.2f} of Ignore")
    say(
        f"\na waiting task with a prompt of {bench.body_size:,} bytes takes "
        f"{median(bench.journal_bytes):,.0f} bytes of Redis, "
        f"and Celery's own state of it {median(bench.state_bytes):,.0f}"
    )


def of(base: list[float], own: list[float]) -> float:
    """How fast the second is, as a part of the first: round by round, as neighbours come and go."""
    return median(b / o for b, o in zip(base, own, strict=True))


class Bench:
    """Rounds on one worker. Each returns what passed by its clock, seconds as a rule, by name."""

    def __init__(self, tasks: int, clock: Callable[[], Any] = time.perf_counter) -> None:
        from batchq.journal import journal_of
        from benchmarks import app

        self.app = app
        self.tasks = tasks
        self.clock = clock
        self.journal = journal_of(app.app)
        self.client = redis.Redis.from_url(app.REDIS_URL)
        self.results = redis.Redis.from_url(app.app.conf.result_backend)
        self.texts = [text(seed) for seed in range(tasks)]
        self.body_size = 0
        self.journal_bytes: list[float] = []
        self.state_bytes: list[float] = []

    def rounds(self, number: int) -> dict[str, list[Any]]:
        """So many rounds of each, which take turns."""
        wait(self.worker_is_up, "the worker answers")
        self.nothing()  # so that both processes have imported everything
        self.batched()
        found: dict[str, list[Any]] = {}
        for _ in range(number):
            for name, passed in (self.nothing() | self.ignored() | self.batched()).items():
                found.setdefault(name, []).append(passed)
        return found

    def worker_is_up(self) -> bool:
        return bool(self.app.app.control.ping(timeout=0.5))

    def nothing(self) -> dict[str, Any]:
        with self.taken(self.app.nothing) as seconds:
            wait(lambda: self.results.dbsize() >= self.tasks, "all tasks have results")
        return {"does nothing": seconds()}

    def ignored(self) -> dict[str, Any]:
        with self.taken(self.app.ignored) as seconds:
            wait(self.nothing_left, "all tasks are taken")
        return {"ends with Ignore": seconds()}

    def batched(self) -> dict[str, Any]:
        before = self.memory()
        with self.taken(self.app.ask) as seconds:
            wait(lambda: self.journal.waiting.count() >= self.tasks, "all tasks are captured")
            capture = seconds()
            wait(self.nothing_left, "all captures are acknowledged")
            self.weigh(before)
            started = self.clock()
            self.answer_all()
            wait(lambda: not self.journal.resuming.count(), "all tasks are resolved")
            resume = self.clock() - started
        return {"capture": capture, "resume": resume}

    @contextmanager
    def taken(self, task: Any) -> Iterator[Callable[[], Any]]:
        """Within it, the worker takes tasks that wait in a queue already; gives what passed."""
        empty(self.client)
        empty(self.results)
        queue = f"round-{uuid.uuid4().hex}"
        control = self.app.app.control
        with self.app.app.producer_or_acquire() as producer, producer.batch(500):
            for each in self.texts:
                task.apply_async((each,), queue=queue, producer=producer)
        control.add_consumer(queue)
        # The worker may be waiting on its other queue for up to a second.
        wait(lambda: self.client.llen(queue) < self.tasks, "the worker takes the first task")
        started = self.clock()
        # The kept messages name the queue, so the resumed tasks come through it too.
        yield lambda: self.clock() - started
        control.cancel_consumer(queue, reply=True)

    def nothing_left(self) -> bool:
        queued = [key for key in self.client.scan_iter("round-*") if self.client.llen(key)]
        return not queued and not self.client.zcard("unacked_index")

    def answer_all(self) -> None:
        """What fetch does with the lines of a result file."""
        from batchq.flow.resume import answer
        from batchq.journal import chunks

        (record,) = self.journal.lanes.all()
        batch_id = uuid.uuid4().hex
        limits, moved = Limits(bytes=2**40), 0
        while moved < self.tasks:
            count, _ = self.journal.lanes.seal(record.lane, batch_id, limits=limits, tokens=2**53)
            moved += count
        for custom_ids in chunks(self.journal.lines.ids(batch_id), 200):
            answer(self.app.app, record.lane, [(each, outcome()) for each in custom_ids])

    def memory(self) -> int:
        info: Any = self.client.info("memory")
        return int(info["used_memory"])

    def weigh(self, before: int) -> None:
        (record,) = self.journal.lanes.all()
        self.body_size = record.bytes // record.prompts
        both = self.memory()
        empty(self.results)
        without_states = self.memory()
        self.journal_bytes.append((without_states - before) / self.tasks)
        self.state_bytes.append((both - without_states) / self.tasks)


def empty(client: redis.Redis) -> None:
    """Empty a database before this returns: Valkey's default is some time after."""
    cast("Any", client).execute_command("FLUSHDB", "SYNC")


def text(seed: int) -> str:
    """About 1,000 bytes, as hard to compress as English is."""
    choice = random.Random(seed)
    return " ".join(choice.choice(WORDS) for _ in range(160))


WORDS = [
    "".join(random.Random(number).choices("etaoinshrdlu", k=2 + number % 8))
    for number in range(3000)
]


def outcome() -> Outcome:
    from batchq.prompt import Outcome

    return Outcome(status_code=200, body=json.dumps(ANSWER).encode(), request_id="req_benchmark")


# Replay


def replay(times: int = 2000) -> None:
    """A call of the SDK that is replayed, and the same call over a transport that only answers."""
    import httpx2
    from openai import OpenAI

    from batchq.capture.http import install_hook
    from batchq.capture.http.asking import ask
    from batchq.capture.http.calls import sight
    from batchq.capture.http.httpx_answers import replayed_response
    from batchq.capture.http.replays import replay_of
    from batchq.capture.run import running
    from benchmarks.app import client

    install_hook()
    body = json.dumps(ANSWER).encode()
    requests: list[Any] = []

    def respond(request: Any) -> Any:
        requests.append(request)
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=body)

    memory = OpenAI(
        http_client=httpx2.Client(transport=httpx2.MockTransport(respond)),
        base_url="http://127.0.0.1:9/v1",
    )
    replayed, direct, own = [], [], []
    message = text(0)
    for _ in range(times):
        run = run_with_answer(message)
        with running(run):
            replayed.append(milliseconds(lambda: call(client, message)))
        direct.append(milliseconds(lambda: call(memory, message)))
        run = run_with_answer(message)
        request = requests[-1]

        def ours(request: Any = request) -> None:
            found = sight(request.method, request.url, request.headers)
            assert found is not None
            outcome = ask(found, request.content)
            assert outcome is not None
            replayed_response(request, replay_of(outcome, found, request.content))

        with running(run):
            own.append(milliseconds(ours))
    say(
        f"\na replayed call takes {median(replayed):.2f} ms; the SDK over a transport that answers "
        f"from memory {median(direct):.2f} ms; Batchq's own part of a replay {median(own):.2f} ms"
    )


def elsewhere(times: int = 200_000) -> None:
    """What the hook costs a request that is made in no batched body, and one that is in a body."""
    import httpx2

    from batchq.capture.http.calls import sight
    from batchq.capture.run import running

    request = httpx2.Request("GET", "https://example.com/a/path", headers={"accept": "*/*"})

    def microseconds(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            sight(request.method, request.url, request.headers)
        return (time.perf_counter() - started) / count * 1_000_000

    outside = min(microseconds(times) for _ in range(5))
    with running(run_with_answer("")):
        inside = min(microseconds(times // 10) for _ in range(5))
    say(
        f"the hook costs a request outside of batched bodies {outside:.2f} µs, and another one "
        f"than a call of a model in a body {inside:.1f} µs"
    )


def call(client: Any, message: str) -> None:
    client.chat.completions.create(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": message}]
    )


def run_with_answer(message: str) -> Any:
    """A run whose journal has the answer to the only call its body makes."""
    from batchq.capture.run import Run
    from batchq.journal import Claim, Entry
    from batchq.prompt import fingerprint
    from batchq.settings.config import settings
    from benchmarks.app import MODEL, app

    asked = {"messages": [{"role": "user", "content": message}], "model": MODEL}
    entry = Entry(
        number=0,
        endpoint="/v1/chat/completions",
        model=MODEL,
        fingerprint=fingerprint("/v1/chat/completions", asked),
        round=0,
        outcome=outcome(),
    )
    return Run(
        task_id="benchmark",
        task_name="ask",
        settings=settings(app),
        claim=Claim(word="CLAIMED", entries=(entry,), steps={}, next_number=1),
        note_live=lambda _: None,
        note_step=lambda _name, _value: None,
    )


def milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
