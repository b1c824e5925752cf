"""From an outcome to the HTTP answer that the caller waits for, whichever library it uses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from batchq.capture.http.calls import Call, json_object
from batchq.capture.http.streams import as_stream
from batchq.prompt import Outcome

__all__ = ["REPLAY", "Replay", "replay_of"]

REPLAY = "x-batchq-replay"
"""The header by which a watcher tells a replayed answer, which costs nothing, from a live one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """An HTTP answer, in no library's form yet."""

    status_code: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


def replay_of(outcome: Outcome, call: Call | None = None, content: bytes = b"") -> Replay:
    """``call`` and its ``content`` say whether a stream was asked for."""
    headers = {"content-type": "application/json", REPLAY: "true"}
    if outcome.request_id:
        headers["x-request-id"] = outcome.request_id
    if not outcome.succeeded:
        # The answer will not change however often the SDK asks the journal.
        headers["x-should-retry"] = "false"
    body = None if call is None else _stream(outcome, call, content)
    if body is not None:
        headers["content-type"] = "text/event-stream; charset=utf-8"
    return Replay(
        status_code=outcome.status_code,
        headers=headers,
        body=outcome.body if body is None else body,
    )


def _stream(outcome: Outcome, call: Call, content: bytes) -> bytes | None:
    """The answer as a stream; None where none was asked for, or an error is told as JSON."""
    asked = json_object(content)
    if asked is None or not asked.get("stream") or not outcome.succeeded:
        return None
    endpoint = _endpoint_of(call)
    answer = json_object(outcome.body)
    if answer is None or not _is_whole(endpoint, answer):
        # As the live API tells of trouble in the midst of a stream.
        return (
            b"data: " + (outcome.body if answer is None else json.dumps(answer).encode()) + b"\n\n"
        )
    return as_stream(endpoint, answer, asked)


def _is_whole(endpoint: str, answer: dict[str, Any]) -> bool:
    parts = answer.get("output" if endpoint == "/v1/responses" else "choices")
    items: list[Any] = parts if isinstance(parts, list) else [None]  # pyright: ignore[reportUnknownVariableType]
    return all(isinstance(item, dict) for item in items)


def _endpoint_of(call: Call) -> str:
    under = call.run.settings.accounts.under(call.url)
    return next(filter(None, (account.endpoint_of(call.url) for _, account in under)))
