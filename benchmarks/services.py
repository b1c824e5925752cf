"""What a benchmark runs on: a Valkey server and Celery workers of its own, on this machine only."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from demo.services import free_port, listening
from demo.valkey import command

NOBODY_ASKED = {"OPENAI_API_KEY": "opens-nothing", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
"""The environment of what has a client and asks nobody: no server listens there."""


@contextmanager
def valkey(directory: Path) -> Iterator[str]:
    """A server that writes its log to disk every second, as Redis does unless told otherwise."""
    port = free_port()
    argv = [*command(port, directory), "--appendfsync", "everysec", "--loglevel", "warning"]
    with program(argv, log=directory / "valkey.log"):
        wait(lambda: listening(port), "valkey listens")
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def worker(module: str, directory: Path, *words: str) -> Iterator[int]:
    """Yields the process id of its main process."""
    log = directory / "worker.log"
    argv = [sys.executable, "-m", "celery", "--app", module, "worker", "--loglevel", "warning"]
    with program([*argv, "--without-mingle", "--without-gossip", *words], log=log) as process:
        yield process.pid


@contextmanager
def flower(prefix: str, directory: Path) -> Iterator[tuple[int, str]]:
    """Flower over the journal with this prefix, once it has read all of it: its process id, and the
    address of what its first page shows.
    """
    os.environ["BENCHMARK_PREFIX"] = prefix
    port = free_port()
    argv = [sys.executable, "-m", "celery", "--app", "benchmarks.app", "flower"]
    argv += ["--address=127.0.0.1", f"--port={port}"]
    with program(argv, log=directory / f"{prefix}.log") as process:
        url = f"http://127.0.0.1:{port}/batches/live"
        wait(lambda: listening(port), "Flower listens")
        wait(lambda: _has_read(url), "Flower has read them all")
        yield process.pid, url


def page(url: str) -> str:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 our own, on this machine
        text: str = answer.read().decode()
        return text


def _has_read(url: str) -> bool:
    try:
        return "being read" not in page(url)
    except OSError:
        return False


@contextmanager
def program(argv: Sequence[str], *, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env=os.environ)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait(
    condition: Callable[[], object], what: str, *, timeout: float = 300, every: float = 0.01
) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout:g} s still not: {what}")
        time.sleep(every)


def processor_seconds(pid: int) -> float:
    """What a process has used of the processor, with its children and those that it had. Linux."""
    # After the name, which may have spaces in it: the state is the first, utime the twelfth.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(processor_seconds(int(child)) for child in children)


def machine() -> str:
    """One line to put over a table."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "openai"))
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {packages}"
