"""What flushing and fetching one full batch costs a worker in memory, on the real journal.

    python -m benchmarks.flush_memory [--megabytes 190] [--prompts 40000] [--outside]

A worker seals a lane, writes the batch file, reads it back, uploads it; later it downloads the
result file, writes each outcome to its journal and sends each task on. Each of the two runs in a
process of its own that has imported everything and has its connections open; what counts is how
far its memory grows over that. Valkey and the emulator are other processes. With --outside large
bodies lie in a directory, and not in Valkey.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import random
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from batchq.emulator import running
from benchmarks.services import machine, valkey, wait

if TYPE_CHECKING:
    from celery import Celery

MEGABYTE = 1_000_000
MOST = 150.0  # megabytes of growth, either way
OVERHEAD = 300  # bytes of a line around what is asked


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=190)
    parser.add_argument("--prompts", type=int, default=40_000)
    parser.add_argument("--outside", action="store_true")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is not None:
        return PARTS[options.part]()
    size = options.megabytes * MEGABYTE // options.prompts - OVERHEAD
    with (
        tempfile.TemporaryDirectory() as directory,
        valkey(Path(directory)) as url,
        running() as emulator,
    ):
        os.environ |= {
            "REDIS_URL": url,
            "OPENAI_API_KEY": emulator.api_key,
            "OPENAI_BASE_URL": emulator.url,
            **({"BENCHMARK_LARGE_BODIES": directory} if options.outside else {}),
        }
        say(f"{machine()}; {options.prompts:,} prompts, {size:,} bytes each")
        fill(question(size), options.prompts)
        say(f"  Valkey holds {used(url) / MEGABYTE:.1f} MB")
        grown = [measured("flush")]
        emulator.reset()
        forget()
        fill(embedding(size), options.prompts)
        submit()
        say(f"  result file {result_size() / MEGABYTE:.0f} MB")
        grown.append(measured("fetch"))
    return 0 if max(grown) < MOST else 1


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def measured(part: str) -> float:
    argv = [sys.executable, "-m", "benchmarks.flush_memory", "--part", part]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    say(done.stdout.strip())
    return float(done.stdout.partition("grows ")[2].split()[0])


Asked = Callable[[int], tuple[str, dict[str, Any]]]


def question(size: int) -> Asked:
    """A chat completion of so many bytes, that do not compress: an image, say."""

    def asked(number: int) -> tuple[str, dict[str, Any]]:
        noise = base64.b64encode(random.Random(number).randbytes(size * 3 // 4)).decode()
        messages = [{"role": "user", "content": noise}]
        return "/v1/chat/completions", {"model": "gpt-5.6-luna", "messages": messages}

    return asked


def embedding(size: int) -> Asked:
    """A short question whose answer has about so many bytes."""
    texts = min(2048, max(1, size // 8192))  # as many as one request may have
    dimensions = min(1536, size * 3 // 16)

    def asked(number: int) -> tuple[str, dict[str, Any]]:
        return "/v1/embeddings", {
            "model": "text-embedding-3-small",
            "input": [f"text {each} of prompt {number}" for each in range(texts)],
            "encoding_format": "base64",
            "dimensions": dimensions,
        }

    return asked


def fill(asked: Asked, prompts: int) -> None:
    """Capture prompts, each of a task of its own, as workers do."""
    from batchq.journal import journal_of
    from batchq.prompt import Lane, Prompt, fingerprint
    from benchmarks.app import app, ask

    journal = journal_of(app)
    for number in range(prompts):
        task_id = f"{number:08d}-0000-4000-8000-000000000000"
        endpoint, body = asked(number)
        line = json.dumps(body).encode()
        token = secrets.token_hex(8)
        journal.runs.claim(task_id, token=token, nesting=0, retries=0)
        prompt = Prompt(
            task_id=task_id,
            number=0,
            lane=Lane(account="default", endpoint=endpoint, model=body["model"]),
            body=line,
            fingerprint=fingerprint(endpoint, body),
            tokens=len(line) // 3,
            inputs=len(body.get("input", ())),
            round=0,
        )
        journal.runs.capture(
            task_id,
            token=token,
            message=message(task_id, ask.name),
            prompts=[prompt],
            next_number=1,
        )


def forget() -> None:
    """Start anew with an empty Redis."""
    from benchmarks.app import REDIS_URL

    redis.Redis.from_url(REDIS_URL).flushall()


def used(url: str) -> int:
    """Bytes that the server has for its keys."""
    with redis.Redis.from_url(url) as client:
        known: Any = client.info("memory")
    return int(known["used_memory_dataset"])


def message(task_id: str, name: str) -> bytes:
    headers = {"lang": "py", "task": name, "id": task_id, "retries": 0, "root_id": task_id}
    body = json.dumps([["some text"], {}, {}])
    parts = {"body": body, "binary": False, "headers": headers, "compression": None}
    where = {"exchange": "", "routing_key": "celery", "content_type": "application/json"}
    more = {"content_encoding": "utf-8", "properties": {"correlation_id": task_id}}
    return json.dumps(parts | where | more).encode()


def submit() -> None:
    """Flush what waits, and poll until its batch is over."""
    from batchq.flow.flush import flush
    from batchq.journal import journal_of
    from benchmarks.app import app

    flush(app)
    (record,) = journal_of(app).batches.open()
    flush(app, record.id)
    poll_until_over()


def poll_until_over() -> None:
    from batchq.flow.poll import poll
    from batchq.journal import journal_of
    from benchmarks.app import app

    journal = journal_of(app)

    def over() -> bool:
        (record,) = journal.batches.open()
        poll(app, record.id, record.chain)
        return record.state == "finished"

    wait(over, "the batch is finished", every=0.2)


def result_size() -> int:
    """The bytes of the result file, read here so that it is not in the figures of the fetch."""
    from batchq.journal import journal_of
    from batchq.provider.client import provider_for
    from batchq.settings.config import settings
    from benchmarks.app import app

    (record,) = journal_of(app).batches.open()
    provider = provider_for(settings(app), record.lane.account)
    file_id = provider.retrieve(record.provider_id).output_file_id
    assert file_id is not None
    return sum(len(line) + 1 for line in provider.rows(file_id))


# In a process of its own


def flush_part() -> int:
    from batchq.flow.flush import flush
    from batchq.journal import journal_of

    app = ready()
    journal = journal_of(app)
    with growth("flush"):
        flush(app)
        (record,) = journal.batches.open()
        flush(app, record.id)
    (record,) = journal.batches.open()
    assert record.state == "submitted", record
    say(f"  batch file {record.bytes / MEGABYTE:.0f} MB, {record.lines:,} lines")
    return 0


def fetch_part() -> int:
    from batchq.flow.fetch import fetch
    from batchq.journal import journal_of

    app = ready()
    journal = journal_of(app)
    (record,) = journal.batches.open()
    with growth("fetch"):
        fetch(app, record.id)
    assert not journal.batches.open()
    assert journal.tallies.counters()["answered"] == record.lines
    say(f"  {record.lines:,} tasks sent on")
    return 0


PARTS = {"flush": flush_part, "fetch": fetch_part}


def ready() -> Celery[Any]:
    """The app in the state of a worker that has had something to do: imported, connected."""
    from batchq.errors import ProviderNotFound
    from batchq.flow.rescue import rescue
    from batchq.flow.runner import Next, wake
    from batchq.provider.client import provider_for
    from batchq.settings.config import settings
    from benchmarks.app import app

    app.finalize(auto=True)
    with contextlib.suppress(ProviderNotFound):
        provider_for(settings(app), "default").retrieve("batch_that_never_was")
    rescue(app)
    wake(app, Next("rescue", ()))
    return app


class growth:  # noqa: N801 reads as the block it opens
    """Prints how far this process's memory grew inside the block, at its highest."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        self.idle, self.started = peak(), time.perf_counter()

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self.started
        grown = peak() - self.idle
        say(f"{self.name} grows {grown:.0f} MB over {self.idle:.0f} MB idle, {seconds:.1f} s")


def peak() -> float:
    """The most memory this process has ever held, in megabytes; it never falls."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage, whose figure a process inherits from the one that started it.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / MEGABYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE  # macOS counts bytes


if __name__ == "__main__":
    raise SystemExit(main())
