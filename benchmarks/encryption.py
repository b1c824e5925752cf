"""What encryption at rest costs: a prompt's way through the journal with and without, as a ratio.

    python -m benchmarks.encryption [--prompts 1000] [--rounds 5]

Each round captures prompts of one size, reads them as batch lines and answers them, on a Valkey
server of its own: once plain, once encrypted. What counts is the time of this process alone, with
only the journal in it, so a ratio here is the most that a whole task can get slower by.
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
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import redis
from celery import Celery
from cryptography.fernet import Fernet

from batchq import Limits
from batchq.journal import Journal
from batchq.journal.store import Store
from batchq.prompt import Lane, Outcome, Prompt
from batchq.settings.config import settings
from benchmarks.services import machine, valkey

LANE = Lane(account="default", endpoint="/v1/chat/completions", model="gpt-5.6-luna")
SIZES = (500, 2_000, 20_000, 1_000_000)
MOST = 40_000_000  # bytes of one round


def report(line: str, *, end: str = "\n") -> None:
    sys.stdout.write(line + end)
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ["BENCHMARK_KEYS"] = Fernet.generate_key().decode()
    report(machine(), end="\n\n")
    report("| a prompt has | plain, each | encrypted, each | ratio | bytes in Redis, ratio |")
    report("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory, valkey(Path(directory)) as url:
        for size in SIZES:
            count = max(10, min(options.prompts, MOST // size))
            rounds = [
                [journey(url, size, count, encrypted=encrypted) for encrypted in (False, True)]
                for _ in range(options.rounds)
            ]
            plain, sealed = (median(one[at][0] for one in rounds) for at in (0, 1))
            ratio = median(one[1][0] / one[0][0] for one in rounds)
            memory = median(one[1][1] / one[0][1] for one in rounds)
            report(
                f"| {size:,} bytes | {plain * 1000:.2f} ms | {sealed * 1000:.2f} ms "
                f"| {ratio:.2f} | {memory:.2f} |"
            )


def journey(url: str, size: int, count: int, *, encrypted: bool) -> tuple[float, int]:
    """Seconds of this process for a prompt, and the bytes in Redis when all are captured."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
        app: Celery[Any] = Celery("encryption", broker=url, set_as_current=False)
        app.conf.batchq_encryption = "env:BENCHMARK_KEYS" if encrypted else None
        journal = Journal(Store(client, settings(app)))
        bodies = list(texts(size, count))
        empty = int(client.info("memory")["used_memory"])
        began = time.process_time()
        ids = [capture(journal, body) for body in bodies]
        captured = time.process_time() - began
        held = int(client.info("memory")["used_memory"]) - empty
        began = time.process_time()
        seal_and_answer(journal, ids, bodies[0])
        return (captured + time.process_time() - began) / count, held


def texts(size: int, count: int) -> Iterator[bytes]:
    """Prose as it compresses: words, not one letter over and over."""
    words = [uuid.uuid4().hex[: random.randint(2, 9)] for _ in range(2_000)]
    for _ in range(count):
        text = " ".join(random.choices(words, k=size // 6))
        body = {"model": LANE.model, "messages": [{"role": "user", "content": text[:size]}]}
        yield json.dumps(body).encode()


def capture(journal: Journal, body: bytes) -> str:
    task_id = str(uuid.uuid4())
    token = journal.runs.lease(task_id).token
    journal.runs.claim(task_id, token=token, nesting=0, retries=0)
    prompt = Prompt(
        task_id=task_id,
        number=0,
        lane=LANE,
        body=body,
        fingerprint=task_id,
        tokens=1,
        inputs=0,
        round=0,
    )
    message = json.dumps({"headers": {"id": task_id}, "body": "x" * 300}).encode()
    journal.runs.capture(task_id, token=token, message=message, prompts=[prompt], next_number=1)
    return prompt.custom_id


def seal_and_answer(journal: Journal, ids: list[str], answer: bytes) -> None:
    limits = Limits(bytes=10**9)
    while journal.lanes.seal(LANE, "batch", limits=limits, tokens=2**50)[0]:
        pass
    record = journal.batches.get("batch")
    assert record is not None
    assert record.lines == len(ids)
    assert all(line for _, line in journal.lines.of(record))
    outcome = Outcome(status_code=200, body=answer)
    for at in range(0, len(ids), 20):
        words = journal.answers.add(LANE, [(one, outcome) for one in ids[at : at + 20]])
        assert set(words) == {"READY"}


if __name__ == "__main__":
    main()
