"""What a flush and a fetch cost for each prompt, against moving the same bytes and no more.

    python -m benchmarks.fetch_flush [--prompts 5000] [--rounds 3] [--profile]

Prompts of 1 kB, each of a task of its own, are flushed: sealed, written to a file, read back and
uploaded; beside that, the same lines are read from Redis, written and uploaded. Their result is
fetched: downloaded, parsed, written to the journal, and each task's message sent on; beside that,
the same file is downloaded, parsed as JSON and written to Redis. Each round runs in processes of
its own, and what counts is their processor time; that of Valkey is told beside it. The emulator is
in none. It ends with 1 where a limit does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import redis

from batchq.emulator import running
from benchmarks.capture import text
from benchmarks.flush_memory import fill, forget, poll_until_over, ready, say
from benchmarks.services import machine, valkey

MOST = {"flush": 4.6, "fetch": 6.5}
"""What each may cost, against moving the same bytes. What is wanted is 2 for either."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="where the time of a round goes")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is not None:
        say(json.dumps(PARTS[options.part](profiled=options.profile)))
        return 0
    with (
        tempfile.TemporaryDirectory() as directory,
        valkey(Path(directory)) as url,
        running() as emulator,
    ):
        os.environ |= {
            "REDIS_URL": url,
            "OPENAI_API_KEY": emulator.api_key,
            "OPENAI_BASE_URL": emulator.url,
        }
        say(f"{machine()}; {options.prompts:,} prompts, {options.rounds} rounds, medians")
        found: list[dict[str, Spent]] = []
        for _ in range(options.rounds):
            emulator.reset()
            forget()
            fill(question, options.prompts)
            found.append(in_process("flush", options.profile))
            poll_until_over()
            found[-1] |= in_process("fetch", options.profile)
    return report(found, options.prompts)


@dataclass(frozen=True)
class Spent:
    """Processor seconds, of the process that works and of Valkey."""

    process: float
    valkey: float


def question(number: int) -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": text(number)}]
    return "/v1/chat/completions", {"model": "gpt-5.6-luna", "messages": messages}


def in_process(part: str, profiled: bool) -> dict[str, Spent]:  # noqa: FBT001 as it was given
    argv = [sys.executable, "-m", "benchmarks.fetch_flush", "--part", part]
    argv += ["--profile"] if profiled else []
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    *told, found = done.stdout.splitlines()
    say("\n".join(told))
    return {name: Spent(**spent) for name, spent in json.loads(found).items()}


def report(found: list[dict[str, Spent]], prompts: int) -> int:
    missed = 0
    say(f"\n{'us a prompt':24} {'process':>8} {'Valkey':>8} {'ratio':>8} {'limit':>8}")
    for name in found[0]:
        process, server = (
            1_000_000 * median(getattr(one[name], part) for one in found) / prompts
            for part in ("process", "valkey")
        )
        told = f"{name:24} {process:8.1f} {server:8.1f}"
        if most := MOST.get(name):
            ratio = median(
                one[name].process / one[f"the bytes of a {name}"].process for one in found
            )
            missed += ratio > most
            told += f" {ratio:8.2f} {most:8.2f}"
        say(told)
    return 1 if missed else 0


# In a process of its own


def flush_part(*, profiled: bool) -> dict[str, dict[str, float]]:
    from batchq.flow.flush import flush
    from batchq.journal import journal_of

    app = ready()
    journal = journal_of(app)

    def flushed() -> None:
        flush(app)
        (record,) = journal.batches.open()
        flush(app, record.id)

    cost = spent(flushed, profiled=profiled)
    (record,) = journal.batches.open()
    assert record.state == "submitted", record
    client = journal.store.redis
    names = [f"bytes:{number}" for number in range(record.lines)]
    for some in parts(zip(names, (line for _, line in journal.lines.of(record)), strict=True)):
        client.mset(dict(some))
    return {"flush": cost, "the bytes of a flush": spent(lambda: moved_there(client, names))}


def moved_there(client: Any, names: list[str]) -> None:
    """The lines of a file, from Redis to the provider."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lines.jsonl")
        with path.open("wb") as file:
            for some in parts(names):
                pipe = client.pipeline(transaction=False)
                for name in some:
                    pipe.get(name)
                file.writelines(pipe.execute())
        provider().upload(path, name=path.name, expires_after=None)


def fetch_part(*, profiled: bool) -> dict[str, dict[str, float]]:
    from batchq.flow.fetch import fetch
    from batchq.journal import journal_of

    app = ready()
    journal = journal_of(app)
    (record,) = journal.batches.open()
    file_id = provider().retrieve(record.provider_id).output_file_id or ""
    warm_up()
    # First, for a fetch deletes the file.
    least = spent(lambda: moved_here(journal.store.redis, file_id))
    cost = spent(lambda: fetch(app, record.id), profiled=profiled)
    assert journal.tallies.counters()["answered"] == record.lines
    assert journal.store.redis.llen("celery") >= record.lines
    return {"fetch": cost, "the bytes of a fetch": least}


def warm_up() -> None:
    """Read the prices of models, as a worker does once."""
    from batchq.money.cost import table_of
    from batchq.settings.config import settings
    from benchmarks.app import MODEL, app

    table_of(settings(app), "default").tariff(MODEL)


def moved_here(client: Any, file_id: str) -> None:
    """The rows of a file, from the provider to Redis."""
    for some in parts(provider().rows(file_id)):
        pipe = client.pipeline(transaction=False)
        for row in some:
            pipe.hset(f"bytes:{json.loads(row)['custom_id']}", "outcome", row)
        pipe.execute()


PARTS = {"flush": flush_part, "fetch": fetch_part}


def provider() -> Any:
    from batchq.provider.client import provider_for
    from batchq.settings.config import settings
    from benchmarks.app import app

    return provider_for(settings(app), "default")


def parts(items: Iterable[Any]) -> Iterator[list[Any]]:
    from batchq.journal import chunks

    return chunks(items, 500)


def spent(work: Callable[[], None], *, profiled: bool = False) -> dict[str, float]:
    """What this process and Valkey have used of a processor by it, in seconds."""
    server = redis.Redis.from_url(os.environ["REDIS_URL"])
    before, began = used(server), time.process_time()
    with profile() if profiled else contextlib.nullcontext():
        work()
    return {"process": time.process_time() - began, "valkey": used(server) - before}


def used(server: Any) -> float:
    info = server.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


@contextlib.contextmanager
def profile() -> Iterator[None]:
    with cProfile.Profile() as found:
        yield
    pstats.Stats(found, stream=sys.stdout).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    sys.exit(main())
