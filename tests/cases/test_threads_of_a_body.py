"""A call belongs to the run whose context it carries, or to none.

A module-level pool, `shutdown(wait=False)`, threads that outlive the body: once the body had been
captured a straggler found no run and called the live API in silence; and where the next task's body
ran already in that process, its question became a prompt of that task.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
from openai import OpenAI

import batchq
from batchq import RunEnded, ThreadWithoutRun
from batchq.capture.threads import carry_runs
from tests.capture.bench import Bench, ask

client = OpenAI()
SIX = [f"question {number}" for number in range(6)]


@pytest.fixture(scope="module")
def executor() -> Iterator[ThreadPoolExecutor]:
    """One that outlives every body, with threads that an earlier body has started."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def thread_pool() -> Iterator[ThreadPool]:
    with ThreadPool(2) as pool:
        yield pool


def asked(text: str) -> str:
    return ask(client, text)


def test_a_pool_of_the_module_asks_for_the_task_that_gave_it_work(
    bench: Bench, executor: ThreadPoolExecutor
) -> None:
    """6 prompts were 6 batch lines and 11 live calls."""

    @bench.task
    def body(word: str) -> list[str]:
        return list(executor.map(asked, [f"{word}: {text}" for text in SIX]))

    results = {word: bench.send(body, word) for word in ("one", "two", "three")}
    bench.deliver()
    while any(result.state == "BATCHED" for result in results.values()):
        bench.answer()
        bench.deliver()
    ledger = bench.emulator.ledger()
    assert ledger["lines_known"] == 18
    assert ledger["live_calls"] == 0
    assert ledger["batches_created"] == 1
    for word, result in results.items():
        assert result.result == [asked(f"{word}: {text}") for text in SIX]


@pytest.mark.parametrize("way", ["map", "starmap", "imap", "imap_unordered", "apply", "map_async"])
def test_a_pool_of_multiprocessing(bench: Bench, thread_pool: ThreadPool, way: str) -> None:
    """Its threads die of a BaseException, and the body waited for ever."""
    ways: dict[str, Callable[[], Any]] = {
        "map": lambda: thread_pool.map(asked, SIX),
        "starmap": lambda: thread_pool.starmap(asked, [(text,) for text in SIX]),
        "imap": lambda: list(thread_pool.imap(asked, SIX)),
        "imap_unordered": lambda: sorted(thread_pool.imap_unordered(asked, SIX)),
        "apply": lambda: [thread_pool.apply(asked, (text,)) for text in SIX],
        "map_async": lambda: thread_pool.map_async(asked, SIX).get(),
    }

    @bench.task
    def body() -> list[str]:
        answers: list[str] = ways[way]()
        return answers

    assert sorted(bench.run(body)) == sorted(asked(text) for text in SIX)
    ledger = bench.emulator.ledger()
    assert ledger["lines_known"] == 6
    assert ledger["live_calls"] == 6  # Those of this test, to compare with.


def test_threads_of_every_kind_belong_to_their_body(bench: Bench) -> None:
    class Worker(threading.Thread):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.text, self.answer = text, ""

        def run(self) -> None:
            with contextlib.suppress(BaseException):
                self.answer = asked(self.text)

    @bench.task
    def body() -> list[str]:
        workers = [Worker(text) for text in SIX]
        found: list[str] = []
        timer = threading.Timer(0, lambda: found.append(quietly(lambda: asked("by a timer"))))
        for thread in (*workers, timer):
            thread.start()
        for thread in (*workers, timer):
            thread.join()
        return [worker.answer for worker in workers] + found

    expected = [asked(text) for text in (*SIX, "by a timer")]
    assert bench.run(body) == expected
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["live_calls"]) == (7, 7)


def quietly(call: Callable[[], str]) -> str:
    with contextlib.suppress(BaseException):
        return call()
    return ""


def test_a_pool_started_within_one_body_does_not_ask_for_it_in_another(bench: Bench) -> None:
    pools: list[ThreadPoolExecutor] = []

    @bench.task
    def body(word: str) -> str:
        if not pools:
            pools.append(ThreadPoolExecutor(1))
        return pools[0].submit(asked, word).result()

    assert "apples" in bench.run(body, "apples")
    assert "pears" in bench.run(body, "pears")
    pools[0].shutdown()
    assert bench.emulator.ledger()["live_calls"] == 0


@pytest.mark.parametrize("how", ["thread", "pool"])
def test_a_straggler_ends_with_run_ended(bench: Bench, how: str) -> None:
    """Without a context of its own it went live, or into the next task of its process."""
    go_on = threading.Event()
    caught: Future[BaseException] = Future()

    def late() -> None:
        go_on.wait(10)
        try:
            asked("too late")
        except BaseException as error:  # noqa: BLE001 whatever it is
            caught.set_result(error)

    @bench.task
    def body() -> str:
        if how == "thread":
            threading.Thread(target=late).start()
        else:
            pool = ThreadPoolExecutor(1)
            pool.submit(late)
            pool.shutdown(wait=False)
        return "done"

    @bench.task
    def another() -> str:
        go_on.set()
        assert isinstance(caught.result(10), RunEnded)
        return asked("its own question")

    assert bench.run(body) == "done"
    assert "its own question" in bench.run(another)
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["live_calls"]) == (1, 0)


@pytest.fixture
def server_thread() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """A thread that was there before any body, and does what comes in its queue."""
    tasks: queue.Queue[tuple[Callable[[], Any], Future[Any]] | None] = queue.Queue()

    def serve() -> None:
        while (item := tasks.get()) is not None:
            work, future = item
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 it is the future's
                future.set_exception(error)

    thread = threading.Thread(target=serve)
    thread.start()

    def do(work: Callable[[], Any]) -> Any:
        future: Future[Any] = Future()
        tasks.put((work, future))
        return future.result(10)

    yield do
    tasks.put(None)
    thread.join()


def test_a_thread_of_nobodys_is_refused(
    bench: Bench, server_thread: Callable[[Callable[[], Any]], Any]
) -> None:
    @bench.task
    def body() -> str:
        return str(server_thread(lambda: asked("whose is it?")))

    with pytest.raises(ThreadWithoutRun):
        bench.run(body)
    assert bench.emulator.ledger()["live_calls"] == 0

    def on_purpose() -> str:
        with batchq.live():
            return asked("nobody's")

    assert "nobody's" in server_thread(on_purpose)


def test_threads_of_a_task_that_is_not_batched_go_live_as_before(bench: Bench) -> None:
    """It runs in the same process as batched ones, and knows nothing of them."""
    pool = ThreadPoolExecutor(1)

    @bench.task
    def batched() -> str:
        return pool.submit(asked, "batched").result()

    @bench.app.task
    def plain() -> list[str]:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(asked("in a thread")))
        thread.start()
        thread.join()
        return [*found, pool.submit(asked, "in a pool").result()]

    assert bench.run(batched)
    assert len(bench.run(plain)) == 2
    pool.shutdown()
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["live_calls"]) == (1, 2)


def test_calls_of_a_pool_that_wait_for_each_other_end(bench: Bench) -> None:
    """A call that has asked waits for the others of its pool, and one of those waits for it."""

    @bench.task
    def body() -> str:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(asked, "first")
            second = pool.submit(lambda: asked(f"second, after {first.result()}"))
            return second.result()

    assert "second" in bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 2


def test_what_a_process_gives_to_a_pool_outside_of_any_task_goes_live(
    bench: Bench, executor: ThreadPoolExecutor, thread_pool: ThreadPool
) -> None:
    """As in a suite that runs a batched body, and then the same function as it is."""

    @bench.task
    def body() -> str:
        return executor.submit(asked, "hello").result()

    assert bench.run(body) == executor.submit(asked, "hello").result()
    assert thread_pool.map(asked, ["hello"]) == [asked("hello")]
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["live_calls"]) == (1, 3)


def test_so_does_what_it_gives_with_its_context(bench: Bench) -> None:
    """As LangChain does with all that it hands to a pool."""

    @bench.task
    def body() -> str:
        return asked("hello")

    bench.run(body)
    with ThreadPoolExecutor(1) as pool:
        context = contextvars.copy_context()
        assert pool.submit(context.run, asked, "hello").result() == asked("hello")


def test_a_library_that_wraps_threads_too_is_no_trouble(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Sentry does: it takes the function of run() and gives it the thread."""
    start = threading.Thread.start

    def watched(self: threading.Thread) -> None:
        run: Any = getattr(self.run, "__func__", self.run)

        def watched_run(*_: Any) -> Any:
            return run(self)

        vars(self)["run"] = watched_run
        start(self)

    @bench.task
    def body() -> str:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(quietly(lambda: asked("hello"))))
        thread.start()
        thread.join()
        return found[0]

    expected = asked("hello")
    # Ours is outermost here, as where a library is set up before the first task is decorated.
    monkeypatch.setattr(threading.Thread, "start", watched)
    carry_runs()
    assert bench.run(body) == expected
