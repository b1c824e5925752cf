"""Tasks that meet inside one process: for the threads pool."""

from __future__ import annotations

import contextvars
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from openai import OpenAI

# Before anything of Batchq is imported, as a module of clients would make it.
client = OpenAI(max_retries=0)

import batchq  # noqa: E402
from batchq import batched_llm_task  # noqa: E402
from tests.apps.base import make_app  # noqa: E402

app = make_app("capture_threads")
MODEL = "gpt-5.6-luna"
WAIT = 20

both_are_in = threading.Barrier(2, timeout=WAIT)
contexts_are_in = threading.Barrier(2, timeout=WAIT)
held = threading.Event()
plain_is_done = threading.Event()


def ask(text: str) -> str:
    completion = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}]
    )
    return completion.choices[0].message.content or ""


@app.task
@batched_llm_task
def with_early_client(text: str) -> str:
    return ask(text)


@app.task
@batched_llm_task
def call_in_bare_thread(word: str) -> str:
    # In the first run only: the replays need not meet.
    batchq.once(both_are_in.wait)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask, f"Tell me about {word}").result()


questions: queue.Queue[tuple[str, Future[str]]] = queue.Queue()


def serve() -> None:
    """A thread that was there before any task, and answers whoever puts something in its queue."""
    while True:
        text, answer = questions.get()
        try:
            answer.set_result(ask(text))
        except Exception as error:  # noqa: BLE001 the one who asked is to have it
            answer.set_exception(error)


@app.task
@batched_llm_task
def call_in_a_thread_of_nobodys() -> str:
    answer: Future[str] = Future()
    questions.put(("whose is it?", answer))
    error = answer.exception()
    return f"{type(error).__name__}: {error}"


@app.task
@batched_llm_task
def call_in_context(word: str) -> str:
    # In the first run only: the replays need not meet.
    batchq.once(contexts_are_in.wait)
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(context.run, ask, f"Tell me about {word}").result()


@app.task
@batched_llm_task
def hold(text: str) -> str:
    held.set()
    plain_is_done.wait(WAIT)
    return ask(text)


@app.task
def plain(text: str) -> str:
    held.wait(WAIT)
    answer = ask(text)
    plain_is_done.set()
    return answer


threading.Thread(target=serve, daemon=True).start()
