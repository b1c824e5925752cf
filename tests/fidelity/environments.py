"""Where the behaviours are tried: broker, result backend, pool, and the app's settings."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from celery import Celery

from tests.fidelity.behaviours import Behaviour
from tests.fidelity.tasks import make
from tests.harness import GREEN, Process, ReservedPort, Stack, wait_until

Pool = Literal["prefork", "threads", "solo", "gevent"]

#: Debian's wrapper would run it as another user, in a home that is not ours.
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A kind of installation. ``settings`` are Celery's, as JSON can hold them.

    ``at_once`` is how many behaviours are run side by side; ``loses_events`` is why Celery's events
    say nothing here, ``leaves_out`` which behaviours say nothing, and why.
    """

    name: str
    broker: Literal["Redis", "RabbitMQ"] = "Redis"
    backend: Literal["Redis", "a database"] = "Redis"
    pool: Pool = "prefork"
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    at_once: int = 500
    leaves_out: Mapping[str, str] = field(default_factory=dict[str, str])
    loses_events: str = ""

    def takes(self, behaviour: Behaviour) -> bool:
        return self.pool not in behaviour.but_not_in and behaviour.name not in self.leaves_out

    @property
    def missing(self) -> str:
        """What this machine lacks for it, in words."""
        if self.broker == "RabbitMQ" and not RABBITMQ.exists():
            return "RabbitMQ is not installed (Debian, Ubuntu: apt-get install rabbitmq-server)"
        return ""


_TWO_THREADS = (
    "two threads share one buffer of events: what one adds while the other sends it is gone "
    "(celery.events.dispatcher.EventDispatcher.flush)"
)
REDIS = {
    "prefork": Environment(name="Redis, prefork"),
    "threads": Environment(name="Redis, threads", pool="threads", loses_events=_TWO_THREADS),
    "solo": Environment(name="Redis, solo", pool="solo"),
    "gevent": Environment(name="Redis, gevent", pool="gevent"),
}
RABBIT = Environment(
    name="RabbitMQ, results in Redis",
    broker="RabbitMQ",
    settings={"task_queue_max_priority": 10, "broker_transport_options": {}},
    leaves_out={
        "expires_before_it_begins": "RabbitMQ drops the message by itself, and nobody hears of it"
    },
)
_OF_THE_MESSAGE = (
    "argsrepr compression_bzip2 compression_gzip countdown custom_headers custom_queue eta "
    "expires_in_time headers_through_a_retry json_of_more_types msgpack pickle priority reply_to "
    "shadow stamped_headers stamped_headers_of_a_canvas time_limits topic_exchange yaml"
).split()
# Each one that waits for its result asks the database again and again.
DATABASE = Environment(
    name="Redis, results in a database",
    backend="a database",
    # Celery sends a retry before it stores RETRY. Where that is soon (0.3 s were too few), another
    # process has stored how it ended meanwhile, and a database keeps what comes last (Redis keeps a
    # SUCCESS). What says for itself how long it waits waits for a second as well.
    settings={"task_annotations": {"*": {"default_retry_delay": 1}}},
    at_once=30,
    leaves_out=dict.fromkeys(_OF_THE_MESSAGE, "a result backend sees nothing of the message")
    | {"the_tree_of_results": "this backend keeps no children"},
)
OTHER_SETTINGS = Environment(
    name="Redis, with many settings changed",
    settings={
        "broker_transport_options": {
            "queue_order_strategy": "priority",
            "priority_steps": [0, 3, 6, 9],
            "global_keyprefix": "broker-prefix-",
        },
        "result_backend_transport_options": {"global_keyprefix": "result-prefix-"},
        "result_extended": True,
        "result_serializer": "pickle",
        "result_compression": "gzip",
        "task_acks_late": True,
        "task_compression": "gzip",
        "task_default_exchange": "orders",
        "task_default_exchange_type": "topic",
        "task_default_routing_key": "order.usual",
        "task_default_priority": 3,
        "task_inherit_parent_priority": True,
        "task_store_errors_even_if_ignored": True,
        "task_track_started": True,
        "worker_deduplicate_successful_tasks": True,
    },
)


@contextmanager
def running(environment: Environment, stack: Stack) -> Iterator[Celery[Any]]:
    """A worker with an embedded beat in this environment; gives the app that sends to it."""
    with _broker(environment, stack) as broker:
        backend = stack.server.url
        if environment.backend == "a database":
            backend = f"db+sqlite:///{_database(stack.directory / 'results.sqlite')}"
        conf = {"broker_url": broker, "result_backend": backend, **environment.settings}
        # Celery refuses a pickle to a worker of root, as tests in a container are.
        its = {"FIDELITY": json.dumps(conf), "C_FORCE_ROOT": "1"}
        # Celery has no beat inside a worker of greenlets.
        green = environment.pool in GREEN
        if green:
            stack.beat("tests.fidelity.app", environment=its)
        inside = () if green else ("--beat", "--schedule", str(stack.directory / "schedule"))
        worker = stack.worker(
            "tests.fidelity.app",
            *inside,
            "--task-events",
            pool=environment.pool,
            # More than the live calls that are slow at once: what expires is to begin in time.
            concurrency=6,
            queues=["celery", "batchq", "special", "topical"],
            environment=its,
        )
        app = make(conf)
        try:
            yield app
        finally:
            app.close()
            worker.stop()


def _database(path: Path) -> Path:
    """An SQLite file that is written and read at once."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return path


@contextmanager
def _broker(environment: Environment, stack: Stack) -> Iterator[str]:
    if environment.broker == "Redis":
        yield stack.server.url
        return
    with rabbitmq(stack) as url:
        yield url


@contextmanager
def rabbitmq(stack: Stack) -> Iterator[str]:
    """A RabbitMQ of its own: its node, ports, files and epmd are nobody else's."""
    home = stack.directory / "rabbitmq"
    home.mkdir()
    amqp, distribution, epmd = ReservedPort(), ReservedPort(), ReservedPort()
    names = stack.process(
        [shutil.which("epmd") or "epmd", "-address", "127.0.0.1", "-port", str(epmd.release())],
        name="epmd",
    )
    (home / "plugins").write_text("[].")
    node = stack.process(
        [RABBITMQ],
        name="rabbitmq",
        environment={
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd.number),
            "RABBITMQ_CONFIG_FILE": str(home / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_DIST_PORT": str(distribution.release()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_NODENAME": f"batchq{os.getpid()}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(amqp.release()),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        },
    )
    _wait_for_boot(node)
    try:
        yield f"amqp://guest:guest@127.0.0.1:{amqp.number}//"
    finally:
        node.stop()
        names.stop()


def _wait_for_boot(node: Process) -> None:
    def booted() -> bool:
        assert node.exit_code is None, f"RabbitMQ ended with {node.exit_code}: {node.output()}"
        return "Server startup complete" in node.output()

    wait_until(booted, description="RabbitMQ has started", timeout=90)
