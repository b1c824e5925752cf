"""What uploading and downloading a full batch file costs in memory.

    python -m benchmarks.provider_memory [--megabytes 190]

A worker that has sealed a batch uploads up to 190 MB, and reads about as much back. Both have to
stream: several of them run side by side in a container that has 512 MB.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from batchq.emulator import running
from batchq.errors import ProviderNotFound
from batchq.provider.client import Provider
from batchq.settings.account import Account

T = TypeVar("T")

MEGABYTE = 1_000_000
MOST = 150.0  # megabytes of growth, for one transfer
ROW = b'{"custom_id": "task", "method": "POST", "url": "/v1/chat/completions", "body": {"model": '
PAD = b'"gpt-5.6-luna", "messages": [{"role": "user", "content": "%s"}]}}\n' % (b"word " * 760)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=190)
    megabytes: int = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory() as directory, running() as emulator:
        path = written(Path(directory) / "lines", megabytes)
        os.environ["BENCHMARK_KEY"] = "opens-nothing"
        account = Account(base_url=emulator.url, api_key="env:BENCHMARK_KEY")
        return measure(Provider("benchmark", account), path)


def written(path: Path, megabytes: int) -> Path:
    with path.open("wb") as lines:
        for _ in range(megabytes * MEGABYTE // len(ROW + PAD)):
            lines.write(ROW + PAD)
    return path


def measure(provider: Provider, path: Path) -> int:
    try:
        provider.retrieve("batch_warm")  # imports the SDK and opens the connection
    except ProviderNotFound:
        idle = peak()
    else:
        raise AssertionError("the emulator knows a batch that was never made")
    file_id, upload_seconds = timed(
        lambda: provider.upload(path, name="benchmark.jsonl", expires_after=timedelta(days=1))
    )
    uploaded = peak()
    count, download_seconds = timed(lambda: sum(1 for _ in provider.rows(file_id)))
    downloaded = peak()
    size = path.stat().st_size / MEGABYTE
    rows = [
        f"file      {size:7.1f} MB, {count:,} lines",
        f"idle      {idle:7.1f} MB",
        f"upload    {uploaded - idle:+7.1f} MB  {size / upload_seconds:7.0f} MB/s",
        f"download  {downloaded - idle:+7.1f} MB  {size / download_seconds:7.0f} MB/s",
    ]
    sys.stdout.write("\n".join(rows) + "\n")
    return 0 if downloaded - idle < MOST else 1


def timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def peak() -> float:
    """The most memory this process has ever held, in megabytes; it never falls."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


if __name__ == "__main__":
    raise SystemExit(main())
