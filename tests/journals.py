"""Prompts put into a journal directly, for tests of what happens to them after their capture."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from batchq.journal import Claim, Journal
from batchq.journal.lease import Lease
from batchq.prompt import Lane, Outcome, Prompt, fingerprint

MODEL = "gpt-5.6-luna"
LANE = Lane(account="default", endpoint="/v1/chat/completions", model=MODEL)

#: Beginnings of keys that have no end, and why: they are the books, and empty out by themselves.
DOCUMENTED = (
    *("lanes", "lane:", "totals:", "waiting", "resuming", "batches", "counters", "dead"),
    *("epoch", "held", "clock"),
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A task that has asked, by its id, with its prompts."""

    task_id: str
    prompts: tuple[Prompt, ...]

    @property
    def custom_ids(self) -> list[str]:
        return [prompt.custom_id for prompt in self.prompts]


def chat(text: str, *, model: str = MODEL) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()


def prompt(
    task_id: str,
    number: int = 0,
    *,
    lane: Lane = LANE,
    body: bytes | None = None,
    tokens: int | None = None,
    inputs: int = 0,
    round: int = 0,  # noqa: A002 the field is called so
) -> Prompt:
    body = chat(f"question {number} of {task_id}", model=lane.model) if body is None else body
    return Prompt(
        task_id=task_id,
        number=number,
        lane=lane,
        body=body,
        fingerprint=fingerprint(lane.endpoint, _read(body)),
        tokens=len(body) // 3 + 1 if tokens is None else tokens,
        inputs=inputs,
        round=round,
    )


def _read(body: bytes) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(body)
    except (ValueError, RecursionError):
        return {"text": body.decode(errors="replace")}
    return read


def message(task_id: str, *, queue: str = "celery", **headers: Any) -> bytes:
    """A task's message as the journal keeps it."""
    return json.dumps(
        {
            "body": "[[], {}, {}]",
            "binary": False,
            "headers": {"id": task_id, "task": "tests.nobody", "lang": "py", **headers},
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "exchange": "",
            "routing_key": queue,
            "compression": None,
            "properties": {"correlation_id": task_id, "delivery_mode": 2},
        }
    ).encode()


def claim(journal: Journal, task_id: str, *, retries: int = 0) -> tuple[Lease, Claim]:
    lease = journal.runs.lease(task_id)
    return lease, journal.runs.claim(task_id, token=lease.token, nesting=0, retries=retries)


def capture(
    journal: Journal,
    *bodies: bytes | None,
    lane: Lane = LANE,
    task_id: str | None = None,
    inputs: int = 0,
    tokens: int | None = None,
) -> Asked:
    """One task asks its prompts, as its first run does."""
    task_id = uuid.uuid4().hex if task_id is None else task_id
    lease, claimed = claim(journal, task_id)
    assert claimed.word == "CLAIMED", claimed
    first = claimed.next_number
    prompts = tuple(
        prompt(task_id, first + at, lane=lane, body=body, inputs=inputs, tokens=tokens)
        for at, body in enumerate(bodies or (None,))
    )
    word = journal.runs.capture(
        task_id,
        token=lease.token,
        message=message(task_id),
        prompts=prompts,
        next_number=first + len(prompts),
    )
    assert word == "CAPTURED"
    return Asked(task_id=task_id, prompts=prompts)


def capture_many(journal: Journal, count: int, **options: Any) -> list[Asked]:
    return [capture(journal, **options) for _ in range(count)]


def outcomes(journal: Journal, asked: Asked) -> list[Outcome | None]:
    """What is known of a task's prompts, in their order."""
    raw = journal.store.redis.hgetall(journal.store.task_key(asked.task_id))
    found = [raw.get(f"{each.number}:outcome".encode()) for each in asked.prompts]
    return [None if one is None else Outcome.from_bytes(one) for one in found]


def outcome(text: str = "an answer", status_code: int = 200) -> Outcome:
    return Outcome(status_code=status_code, body=json.dumps({"text": text}).encode())


def ids(asked: Iterable[Asked]) -> list[str]:
    return [custom_id for one in asked for custom_id in one.custom_ids]
