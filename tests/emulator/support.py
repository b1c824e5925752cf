"""Words the emulator's tests share."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from openai import OpenAI
from openai.types import Batch, FileObject

from batchq.emulator import Emulator

CHAT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
MODEL = "gpt-5.6-luna"
TERMINAL = {"completed", "failed", "expired", "cancelled"}
HOUR = 3600.0

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], *, description: str, timeout: float = 20.0) -> T:
    """The first true value of the condition."""
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"never happened: {description}")


def chat_body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def line(custom_id: str, body: dict[str, Any] | None = None, url: str = CHAT) -> dict[str, Any]:
    given = chat_body(f"Say something about {custom_id}") if body is None else body
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": given}


def lines(size: int) -> list[dict[str, Any]]:
    return [line(f"line-{number}") for number in range(size)]


def jsonl(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@dataclass(frozen=True)
class Desk:
    """A client of the emulator, and the emulator behind it."""

    client: OpenAI
    emulator: Emulator

    def upload(self, content: bytes | Sequence[Any], name: str = "batch.jsonl") -> FileObject:
        data = content if isinstance(content, bytes) else jsonl(content)
        return self.client.files.create(file=(name, data), purpose="batch")

    def submit(self, content: bytes | Sequence[Any], endpoint: Any = CHAT) -> Batch:
        return self.create(self.upload(content).id, endpoint)

    def create(self, file_id: str, endpoint: Any = CHAT, **more: Any) -> Batch:
        return self.client.batches.create(
            input_file_id=file_id, endpoint=endpoint, completion_window="24h", **more
        )

    def reach(self, batch: Batch, *statuses: str) -> Batch:
        def reached() -> Batch | None:
            now = self.client.batches.retrieve(batch.id)
            return now if now.status in statuses else None

        return wait_until(reached, description=f"{batch.id} is {statuses}")

    def finish(self, batch: Batch) -> Batch:
        return self.reach(batch, *TERMINAL)

    def run(self, content: bytes | Sequence[Any], endpoint: Any = CHAT) -> Batch:
        return self.finish(self.submit(content, endpoint))

    def raw(self, file_id: str | None) -> bytes:
        return b"" if not file_id else self.client.files.content(file_id).read()

    def rows(self, file_id: str | None) -> list[dict[str, Any]]:
        return [json.loads(row) for row in self.raw(file_id).splitlines()]

    def ids(self, file_id: str | None) -> list[str]:
        return [row["custom_id"] for row in self.rows(file_id)]

    def billed(self) -> dict[str, int]:
        """How often each line ran successfully."""
        return {name: bill["ok"] for name, bill in self.emulator.ledger()["lines"].items()}


def desk(emulator: Emulator, *, timeout: float = 20.0, api_key: str | None = None) -> Desk:
    """A client that never repeats a call by itself."""
    key = emulator.api_key if api_key is None else api_key
    client = OpenAI(base_url=emulator.url, api_key=key, max_retries=0, timeout=timeout)
    return Desk(client, emulator)
