"""Views: one task, one prompt, for people to look at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from batchq.journal.bodies import Bodies
from batchq.journal.records import CallRecord, PromptRecord, TaskRecord
from batchq.journal.replies import chunks, count_of, parts_of, replies_of, to_text
from batchq.journal.store import Store
from batchq.prompt import Lane, Outcome

__all__ = ["Views"]


class Views:
    """What is read by nobody but an operator."""

    def __init__(self, store: Store, bodies: Bodies) -> None:
        self._store = store
        self._redis = store.redis
        self._bodies = bodies

    def task(self, task_id: str) -> TaskRecord | None:
        """What is known of a task and its calls; None where it never asked, or long ago."""
        fields = to_text(self._redis.hgetall(self._store.task_key(task_id)))
        if not fields:
            return None
        ids = {name.removesuffix(":record") for name in fields if name.endswith(":record")}
        calls = [call for call in (_call(fields, one) for one in ids) if call is not None]
        return TaskRecord(
            id=task_id,
            name=fields.get("name", ""),
            done=fields.get("done", ""),
            revoked="revoked" in fields or fields.get("done") == "REVOKED",
            dead="dead" in fields,
            running=bool(self._redis.exists(self._store.task_lease_key(task_id))),
            retries=count_of(fields.get("retries")),
            crashes=count_of(fields.get("crashes")),
            calls=tuple(sorted(calls, key=lambda call: call.number)),
        )

    def prompts(self, custom_ids: Iterable[str]) -> list[PromptRecord]:
        """What is known of some prompts, in their order: of each its own part of its task."""
        found: list[PromptRecord] = []
        for some in chunks(custom_ids):
            pipe = self._redis.pipeline(transaction=False)
            for task_id, number in map(parts_of, some):
                pipe.hmget(self._store.task_key(task_id), _fields(number))
            found += map(_prompt, some, replies_of(pipe))
        return found

    def question(self, custom_id: str) -> bytes | None:
        """The body of a prompt as it was captured; None where it is not kept any more.

        Raises KeyMissing or JournalUnreadable.
        """
        task_id, number = parts_of(custom_id)
        sealed: bytes | None = self._redis.hget(self._store.bodies_key(task_id), str(number))
        return None if sealed is None else self._bodies.read(sealed, f"the prompt {custom_id}")

    def outcome(self, custom_id: str) -> Outcome | None:
        """What came back for a prompt; None where it is out, or not kept any more.

        Raises KeyMissing or JournalUnreadable.
        """
        task_id, number = parts_of(custom_id)
        sealed: bytes | None = self._redis.hget(self._store.task_key(task_id), f"{number}:outcome")
        return (
            None
            if sealed is None
            else self._store.read_outcome(sealed, f"the answer to {custom_id}")
        )


_OF_TASK = ("name", "done", "dead")
_OF_CALL = ("record", "at", "attempts", "place", "receipt")


def _fields(number: int) -> list[str]:
    of_call = [f"{was}{number}:{what}" for was in ("", "was:") for what in _OF_CALL]
    return [*_OF_TASK, *of_call]


def _prompt(custom_id: str, reply: Any) -> PromptRecord:
    task_id, number = parts_of(custom_id)
    known = PromptRecord(id=custom_id, task_id=task_id, number=number)
    if isinstance(reply, Exception):
        return known  # Somebody else has written there.
    fields = to_text(
        {
            name.encode(): value
            for name, value in zip(_fields(number), reply, strict=True)
            if value is not None
        }
    )
    return replace(
        known,
        name=fields.get("name", ""),
        done=fields.get("done", ""),
        dead="dead" in fields,
        call=_call(fields, f"was:{number}") or _call(fields, str(number)),
    )


def _call(fields: Mapping[str, str], name: str) -> CallRecord | None:
    """One call, named ``<n>``, or ``was:<n>`` once its task is final."""
    number = name.removeprefix("was:")
    final = name != number
    try:
        record: dict[str, Any] = json.loads(fields[f"{name}:record"])
        receipt: dict[str, Any] = json.loads(fields.get(f"{name}:receipt", "{}"))
        known = {key: receipt[key] for key in CallRecord.__annotations__ if key in receipt}
        return CallRecord(
            number=int(number),
            lane=Lane.from_name(record["lane"]),
            asked_at=count_of(fields.get(f"{name}:at")),
            attempts=count_of(fields.get(f"{name}:attempts")),
            place="answered" if final else fields.get(f"{name}:place", ""),
            round=count_of(record.get("round")),
            **known,
        )
    except (ValueError, LookupError, TypeError):
        return None  # Somebody else has written there; the journey says so in the log.
