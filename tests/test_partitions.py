"""Links that fail as networks do: producer to Redis, worker to Redis, worker to the provider.

Each mode of the proxy on each link, for a moment; `python -m tests.faults` has the long ones.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from celery import Celery

from batchq.overview import status
from tests.apps import partition
from tests.harness import Stack, wait_until
from tests.proxy import MODES, Mode, Proxy

pytestmark = pytest.mark.long

logger = logging.getLogger(__name__)

APP = "tests.apps.partition"
LINKS = ("producer", "worker", "provider")
SEND_WITHIN = 15.0
HEAL_WITHIN = 60.0
BROKEN = [mode for mode in MODES if mode != "pass"]
#: A call whose connection dies under way is given up after CONTROL_SECONDS, long for a test.
CASES = [
    (link, mode) for link in LINKS for mode in BROKEN if (link, mode) != ("provider", "zombie")
]


@dataclass
class Links:
    """A worker that drives batches, both of its links by proxies; a producer likewise.

    The tasks themselves run in a worker that has a whole link: what Redis hands to a connection
    that is dead is lost to Celery, whatever the task, and no setting of Celery changes that.
    """

    stack: Stack
    producer: Proxy
    worker: Proxy
    provider: Proxy
    app: Celery[Any]
    sent: list[str] = field(default_factory=list[str])
    slowest: float = 0.0

    def send(self) -> float:
        """Send a task by the producer's link; returns how long that took. It may be refused."""
        began = time.monotonic()
        result: Any = None
        try:
            result = self.app.tasks["ask"].delay(f"question {time.time_ns()}")
        except Exception:
            logger.info("delay() raised", exc_info=True)
        took = time.monotonic() - began
        self.slowest = max(self.slowest, took)
        if result is not None:
            # When it is collected it would ask a server by a link that is gone, and for long.
            vars(result)["backend"] = None
            self.sent.append(result.id)
        return took

    def resolved(self) -> list[str]:
        """The answers, asked for at Redis itself."""
        known = [partition.app.AsyncResult(task_id) for task_id in self.sent]
        return [result.get(timeout=HEAL_WITHIN) for result in known]


@pytest.fixture(scope="module")
def running_links(shared_stack: Stack) -> Iterator[Links]:
    with links(shared_stack) as found:
        yield found


class links:  # noqa: N801 used as a function
    """Starts the worker, the beat and the three links of a stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.exits = ExitStack()

    def __enter__(self) -> Links:
        stack, enter = self.stack, self.exits.enter_context
        redis_port = stack.server.port.number
        producer, worker = (enter(Proxy(redis_port, seconds=0.3)) for _ in range(2))
        provider = enter(Proxy(stack.emulator.port, seconds=0.3))
        environment = {
            "REDIS_URL": f"redis://127.0.0.1:{worker.port}/0",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{provider.port}/v1",
        }
        stack.worker(APP, queues=["batchq"], concurrency=1, environment=environment)
        stack.worker(APP, queues=["celery"], concurrency=1)
        stack.beat(APP)
        app = partition.made(f"redis://127.0.0.1:{producer.port}/0")
        return Links(stack, producer, worker, provider, app)

    def __exit__(self, *_: object) -> None:
        self.exits.close()


@pytest.fixture
def between(running_links: Links) -> Iterator[Links]:
    """Links that are whole, with an emulator as new."""
    links = running_links
    links.stack.emulator.reset()
    links.sent = []
    links.send()
    links.resolved()
    yield links
    for link in (links.producer, links.worker, links.provider):
        link.mode = "pass"
    links.sent = []


@pytest.mark.parametrize(("link", "mode"), CASES)
def test_a_link_fails_for_a_moment(between: Links, link: str, mode: Mode) -> None:
    check(between, link, mode, seconds=1.0)


def check(links: Links, link: str, mode: Mode, *, seconds: float) -> float:
    """Break a link, send, heal it, and hold the books; returns how long it took to heal."""
    proxies = {"producer": links.producer, "worker": links.worker, "provider": links.provider}
    proxy = proxies[link]
    before = proxy.met
    if (link, mode) == ("provider", "zombie"):
        # No connection is kept between two calls, so one has to be met that is under way.
        links.stack.emulator.fault("slow", call="retrieve", seconds=0.5, times=None)
    links.send()
    proxy.mode = mode
    began = time.monotonic()

    def met() -> bool:
        if mode == "zombie" and proxy.met == before:
            proxy.mode = mode  # There was no connection yet that could die.
        return time.monotonic() - began >= seconds and proxy.met > before

    for _ in range(2):
        assert links.send() < SEND_WITHIN, "delay() returns or raises"
    wait_until(met, description="it lasts a while, and is met", timeout=seconds + 30)
    proxy.mode = "pass"
    healed = time.monotonic()
    links.send()
    answers = links.resolved()
    took = time.monotonic() - healed
    assert all(isinstance(answer, str) for answer in answers), "nothing is lost"
    assert took < HEAL_WITHIN
    assert len(answers) >= 2
    wait_until(lambda: not status(partition.app).batches, description="nothing is under way")
    ledger = links.stack.emulator.ledger()
    billed = {line["ok"] + line["failed"] for line in ledger["lines"].values()}
    assert billed == {1}, "each was billed once"
    return took


def test_the_book_of_modes_is_whole() -> None:
    """Each mode is broken in its own way: what comes through it says which it is."""
    assert len(MODES) == len(set(MODES)) == 7
