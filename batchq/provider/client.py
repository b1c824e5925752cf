"""The one module that calls a Batch API.

One attempt per call: the journey's own clock does the repeating, so that a step never
outlives its lease, and `batches.create`, which has no idempotency key, is never sent twice.
Whatever goes wrong is a ProviderError, which carries no key, no header and no SDK object.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, cast

from batchq.common.own_calls import bypass
from batchq.errors import (
    SENDS_PROMPTS,
    ConfigurationError,
    ProviderError,
    ProviderNotFound,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnauthorized,
    ProviderUnclear,
)
from batchq.provider.sdk import Credentials, carried_by, credentials_of, new_client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openai import APIStatusError, OpenAI

    from batchq.settings.account import Account
    from batchq.settings.config import Settings

T = TypeVar("T")
Json = dict[str, Any]

STATUSES = (
    *("validating", "in_progress", "finalizing", "completed"),
    *("failed", "expired", "cancelling", "cancelled"),
)
"""What a batch may be at a provider, as far as is known."""

CONTROL_SECONDS = 30.0
SILENCE_SECONDS = 60.0  # a slow transfer that moves may take as long as it needs
STORED_A_SECOND = 1_000_000  # bytes: how fast a provider stores a file that it has, at the least
CONNECT_SECONDS = 10.0
PAGE = 100
LOOK_BACK = timedelta(minutes=5)  # how far the provider's clock may be from ours
LOOK_AT_LEAST = 200  # entries: "newest first" is not promised anywhere
BATCH_KEY = "batchq"  # the metadata under which a batch carries its intent


@dataclass(frozen=True)
class BatchErrorLine:
    """One reason why a whole batch failed; `line` counts from 1, where the provider says it."""

    code: str | None
    message: str
    param: str | None
    line: int | None


@dataclass(frozen=True)
class ProviderBatch:
    """A batch as the provider describes it, with what providers write differently made equal.

    `status` is lower-case and may be a word nobody has seen before; the counts are only
    reliable once it is ``completed``.
    """

    id: str
    status: str
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    created_at: datetime | None = None
    expires_at: datetime | None = None
    errors: tuple[BatchErrorLine, ...] = ()
    usage: Mapping[str, Any] | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    object: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """All the provider said, without the sentences of its errors: those may repeat a prompt."""

    @property
    def batch_key(self) -> str | None:
        """What it was created under; None where that was not by Batchq."""
        return self.metadata.get(BATCH_KEY)


@dataclass(frozen=True)
class Row:
    """One line of an output or error file.

    `status_code` is None where the prompt was not run, and `error_code` may then say why.
    An HTTP error of the prompt itself is in `body`, as the SDK would have received it.
    """

    custom_id: str
    status_code: int | None
    body: Any
    request_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_type: str | None = None


class Provider:
    """The Batch API of one account. Safe to share between threads and to carry over a fork."""

    def __init__(self, name: str, account: Account) -> None:
        self.name = name
        self.account = account
        self._lock = Lock()
        self._made: tuple[int, Credentials, OpenAI] | None = None

    def __repr__(self) -> str:
        return f"Provider({self.name!r})"

    def upload(self, path: Path, *, name: str, expires_after: timedelta | None) -> str:
        """Upload a batch file under the file name `name`; gives its file id.

        The file is read as it is sent, so memory does not grow with it.
        """
        storing = CONTROL_SECONDS + path.stat().st_size / STORED_A_SECOND
        with path.open("rb") as content:
            # An open file streams; a path or bytes would be read into memory by the SDK.
            sent = self._json(
                "files.create",
                lambda client: client.files.with_raw_response.create(
                    file=(name, content, "application/jsonl"),
                    purpose="batch",
                    timeout=_timeout(SILENCE_SECONDS, read=storing),
                    **_expires("expires_after", expires_after),
                ),
            )
        return self._id(sent, "files.create")

    def find_file(self, name: str, *, since: datetime) -> str | None:
        """The newest batch file of that name that was uploaded after `since`, give or take."""
        found = self._pages(
            "files.list",
            lambda client, after: client.files.with_raw_response.list(
                purpose="batch", order="desc", limit=PAGE, **after
            ),
            since,
        )
        named = [file for file in found if file.get("filename") == name and _text(file.get("id"))]
        newest = max(named, key=lambda file: _time(file.get("created_at")) or since, default=None)
        return None if newest is None else cast("str", newest["id"])

    def create(
        self,
        *,
        file_id: str,
        endpoint: str,
        batch_key: str,
        metadata: Mapping[str, str],
        expires_after: timedelta | None,
    ) -> ProviderBatch:
        """Create a batch that `find_batches(batch_key)` finds again.

        After ProviderUnclear the batch may exist: look for it before creating another.
        """
        created = self._json(
            "batches.create",
            lambda client: client.batches.with_raw_response.create(
                input_file_id=file_id,
                endpoint=cast("Any", endpoint),
                completion_window="24h",
                metadata={**metadata, BATCH_KEY: batch_key},
                **_expires("output_expires_after", expires_after),
            ),
        )
        return self._batch(created, "batches.create")

    def find_batches(self, batch_key: str, *, since: datetime) -> list[ProviderBatch]:
        """Every batch created under `batch_key` after `since`, give or take, newest first."""
        return [one for one in self.batches(since=since) if one.batch_key == batch_key]

    def batches(self, *, since: datetime) -> list[ProviderBatch]:
        """Every batch of the account, whoever created it, after `since`, give or take."""
        found = self._pages(
            "batches.list",
            lambda client, after: client.batches.with_raw_response.list(limit=PAGE, **after),
            since,
        )
        return [self._batch(one, "batches.list") for one in found]

    def retrieve(self, batch_id: str) -> ProviderBatch:
        """The batch as it is now."""
        batch = self._json(
            "batches.retrieve",
            lambda client: client.batches.with_raw_response.retrieve(batch_id),
        )
        return self._batch(batch, "batches.retrieve")

    def cancel(self, batch_id: str) -> ProviderBatch:
        """Ask for the batch to stop; it is usually ``cancelling`` for some minutes after."""
        batch = self._json(
            "batches.cancel",
            lambda client: client.batches.with_raw_response.cancel(batch_id),
        )
        return self._batch(batch, "batches.cancel")

    def rows(self, file_id: str) -> Iterator[bytes]:
        """The lines of a result file as they arrive, one at a time, without their newline.

        A download that breaks off raises ProviderUnclear after the lines that came whole:
        read the file again from the start.
        """
        with ExitStack() as stack:
            # Only the sending is inside `_call`: a generator that is suspended between two
            # lines must not leave its caller's context bypassed.
            response = self._call(
                "files.content",
                lambda client: stack.enter_context(
                    client.files.with_streaming_response.content(
                        file_id, timeout=_timeout(SILENCE_SECONDS)
                    )
                ),
            )
            if "text/html" in response.headers.get("content-type", ""):
                # A gateway's, with status 200. Its lines are no rows that went missing.
                raise ProviderUnclear(self.name, "files.content", "the answer is a web page")
            yield from _lines(self._chunks(response.iter_bytes()))

    def look(self) -> timedelta | None:
        """Ask something that costs nothing, to see whether the account is there and its key taken.

        Gives how far this machine's clock is ahead of the provider's, to a second or so; None where
        the provider does not tell the time.
        """
        response = self._call(
            "batches.list",
            lambda client: client.batches.with_raw_response.list(limit=1, timeout=CONNECT_SECONDS),
        )
        self._read("batches.list", response.http_response.content)
        told = response.headers.get("date")
        try:
            return None if told is None else datetime.now(UTC) - parsedate_to_datetime(told)
        except (ValueError, TypeError):  # no date, or one without its zone
            return None

    def delete_file(self, file_id: str) -> None:
        """Delete a file; one that is gone already is fine."""
        try:
            self._call("files.delete", lambda client: client.files.delete(file_id))
        except ProviderNotFound:
            return

    def _call(self, call: str, send: Callable[[OpenAI], T]) -> T:
        """The one place where a request leaves: not captured, and every failure translated."""
        import openai

        client, now = self._client()
        try:
            with bypass():
                return send(client)
        except openai.APIStatusError as error:
            failure = _refusal(self.name, call, error, now)
        except (openai.OpenAIError, OSError) as error:
            failure = ProviderUnclear(self.name, call, _reason(error, now))
        except Exception as error:
            if not (self.account.client or self.account.http_client):
                raise
            # A user's own client raises what it likes; its words may hold what its vault said.
            failure = ProviderUnclear(self.name, call, type(error).__name__)
        if isinstance(failure, ProviderUnauthorized):
            self._forget_client()
        # Raised out here, so that the SDK's error, which carries the request and with it the
        # key, is not even the __context__ of ours.
        raise failure

    def _json(self, call: str, send: Callable[[OpenAI], Any]) -> Json:
        """What the provider answered, untouched by the SDK's models: they guess at other types."""
        return self._read(call, self._call(call, lambda client: send(client).http_response.content))

    def _read(self, call: str, content: bytes) -> Json:
        try:
            answer: object = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            return cast("Json", answer)
        raise ProviderUnclear(self.name, call, "the answer is not a JSON object")

    def _pages(self, call: str, send: Callable[[OpenAI, Any], Any], since: datetime) -> list[Json]:
        """The entries of a listing, newest first, back to `since` and a little further."""
        entries: dict[str, Json] = {}
        after: dict[str, str] = {}
        while True:
            page = self._json(call, _after(send, after))
            fresh = {
                entry["id"]: entry
                for entry in _objects(page.get("data"))
                if _text(entry.get("id")) and entry["id"] not in entries
            }
            entries |= fresh
            # A provider that ignores `after` gives the same page for ever.
            if not fresh or not page.get("has_more"):
                return list(entries.values())
            times = [_time(entry.get("created_at")) for entry in fresh.values()]
            old = any(time is not None and time < since - LOOK_BACK for time in times)
            if old and len(entries) >= LOOK_AT_LEAST:
                return list(entries.values())
            after = {"after": list(fresh)[-1]}

    def _chunks(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        while True:
            try:
                chunk = next(chunks, None)
            except Exception as error:  # noqa: BLE001 httpx's, httpx2's or httpcore's: by version
                reason = type(error).__name__
            else:
                if chunk is None:
                    return
                yield chunk
                continue
            raise ProviderUnclear(self.name, "files.content", f"the download broke off ({reason})")

    def _batch(self, answer: Json, call: str) -> ProviderBatch:
        self._id(answer, call)
        return _batch(answer)

    def _id(self, answer: Json, call: str) -> str:
        found = _text(answer.get("id"))
        if found is None:
            raise ProviderUnclear(self.name, call, "the answer has no id")
        return found

    def carries(self) -> dict[str, str]:
        """The headers of each of its requests, by lower-case name; as secret as its key."""
        return carried_by(self._client()[0])

    def _client(self) -> tuple[OpenAI, Credentials]:
        """A client of this process and of the credentials as they are now."""
        try:
            return self._client_of_now()
        except ConfigurationError as error:
            raise ConfigurationError(
                f"batchq_accounts[{self.name!r}].{error.setting}", error.given, error.expected
            ) from None

    def _client_of_now(self) -> tuple[OpenAI, Credentials]:
        # Not under the lock: a vault may take its time.
        now = credentials_of(self.account)
        with self._lock:
            if self._made is None or self._made[:2] != (os.getpid(), now):
                if self._made is not None and self._made[0] != os.getpid():
                    _INHERITED.append(self._made[2])
                client = new_client(self.account, now, _timeout(CONTROL_SECONDS))
                self._made = (os.getpid(), now, client)
            return self._made[2], now

    def _forget_client(self) -> None:
        """Have the next call make one: a client of the user's may hold what is no more taken."""
        with self._lock:
            self._made = None


# A client made before a fork is neither used nor closed here: its pool may hold a lock that
# no thread of this process will ever give back.
_INHERITED: list[OpenAI] = []

_providers: dict[tuple[int, str, str], Provider] = {}


def provider_for(settings: Settings, name: str) -> Provider:
    """This process's Provider of the account `name`."""
    account = settings.accounts[name]
    identity = (os.getpid(), name, account.model_dump_json())
    if identity not in _providers:
        _providers[identity] = Provider(name, account)
    return _providers[identity]


def _after(send: Callable[[OpenAI, Any], Any], after: Any) -> Callable[[OpenAI], Any]:
    return lambda client: send(client, after)


def _timeout(seconds: float, **of: float) -> Any:
    import openai

    return openai.Timeout(seconds, connect=CONNECT_SECONDS, **of)


def _expires(argument: str, after: timedelta | None) -> dict[str, Any]:
    if after is None:
        return {}
    return {argument: {"anchor": "created_at", "seconds": int(after.total_seconds())}}


# Failures


def _refusal(name: str, call: str, error: APIStatusError, now: Credentials) -> ProviderError:
    status = error.status_code
    message = _hidden(_told(error), error, now)
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    if not refused or status == HTTPStatus.REQUEST_TIMEOUT:
        told = "" if call in SENDS_PROMPTS else f": {message}"
        return ProviderUnclear(name, call, f"{status}{told}")
    parts = (name, call, status, _text(error.code), message, _text(error.param))
    failure: ProviderRefused
    match status:
        case HTTPStatus.TOO_MANY_REQUESTS:
            failure = ProviderThrottled(*parts, _retry_after(error))
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            failure = ProviderUnauthorized(*parts)
        case HTTPStatus.NOT_FOUND:
            failure = ProviderNotFound(*parts)
        case _:
            failure = ProviderRefused(*parts)
    failure.kind = _text(error.type)
    return failure


def _told(error: APIStatusError) -> str:
    """The provider's own sentence, without the SDK's rendering of the whole body."""
    told = _text(_object(error.body).get("message"))
    return told or _sound(str(error.body or error.message)[:500])


def _retry_after(error: APIStatusError) -> float | None:
    headers = error.response.headers
    for header, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[header]) * unit)
        except (KeyError, ValueError):  # the other form is a date; our own pace will do
            continue
    return None


def _reason(error: Exception, now: Credentials) -> str:
    # The SDK says "Connection error."; what happened is in the cause.
    cause = error.__cause__ or error
    return _sound(_hidden(f"{type(cause).__name__}: {str(cause) or str(error)}", error, now)[:500])


def _hidden(text: str, error: Exception, now: Credentials) -> str:
    """``text`` without the credentials, and without those that a client got by itself."""
    sent: Any = getattr(getattr(error, "request", None), "headers", {})
    for header in ("authorization", "api-key"):
        _, _, key = sent.get(header, "").rpartition(" ")
        text = text.replace(key, "…") if key else text
    return now.hide(text)


# What providers answer


def _batch(answer: Json) -> ProviderBatch:
    counts = _object(answer.get("request_counts"))
    total, completed, failed = (
        min(max(_whole(counts.get(name)) or 0, 0), _MOST)
        for name in ("total", "completed", "failed")
    )
    status = (_text(answer.get("status")) or "unknown").strip().lower()[:_LONGEST_WORD]
    status = _STATUS_WORDS.get(status, status)
    files = [_text(answer.get(f"{kind}_file_id")) for kind in ("output", "error")]
    if status not in STATUSES and any(files) and 0 < total == completed + failed:
        # Whatever the word: every line has been run, and there is a file to read.
        status = "completed"
    return ProviderBatch(
        id=_text(answer["id"]) or "",
        status=status,
        input_file_id=_text(answer.get("input_file_id")),
        output_file_id=files[0],
        error_file_id=files[1],
        total=total,
        completed=completed,
        failed=failed,
        created_at=_time(answer.get("created_at")),
        expires_at=_time(answer.get("expires_at")),
        errors=_errors(answer.get("errors")),
        usage=_object(answer.get("usage")) or None,
        model=_text(answer.get("model")),
        metadata={
            _sound(name): _sound(str(value))
            for name, value in _object(answer.get("metadata")).items()
        },
        object=_shown({**answer, "errors": _without_sentences(answer.get("errors"))}),
    )


_MOST = 2**53
"""More lines than that nobody has: a number that Redis can hold, whatever a provider writes."""
_LONGEST_WORD = 64


def _shown(answer: Json) -> Json:
    """What is kept to be looked at, if it can be written at all."""
    try:
        json.dumps(answer)
    except (RecursionError, ValueError):
        return {}
    return answer


_STATUS_WORDS = {
    "canceling": "cancelling",
    "canceled": "cancelled",
    # Of compatible servers.
    "queued": "validating",
    "scheduling": "validating",
    "running": "in_progress",
    "succeeded": "completed",
}


def _without_sentences(given: object) -> object:
    kept = [{n: v for n, v in line.items() if n != "message"} for line in _error_lines(given)]
    return {"object": "list", "data": kept} if kept else None


def _error_lines(given: object) -> list[Json]:
    return _objects(given) or _objects(_object(given).get("data"))


def _errors(given: object) -> tuple[BatchErrorLine, ...]:
    return tuple(
        BatchErrorLine(
            code=_text(line.get("code")),
            message=_sound(str(line.get("message") or "")),
            param=_text(line.get("param")),
            line=_whole(line.get("line")),
        )
        for line in _error_lines(given)
    )


def parse_row(line: bytes) -> Row | None:
    """One line of a result file; None where it is not one (cut short, blank, rubbish)."""
    try:
        row = _object(json.loads(line))
    except (ValueError, RecursionError):
        return None
    custom_id = _text(row.get("custom_id"))
    if custom_id is None:
        return None
    response = _object(row.get("response"))
    status, body = _status(response), _body(response.get("body"))
    error: object = row.get("error")
    if not error and (status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        # What went wrong may be told where an error of the prompt itself would be.
        error = _object(body).get("error") or _text(body)
    details = _object(error)
    return Row(
        custom_id=custom_id,
        status_code=status,
        body=body,
        request_id=_header(response.get("request_id")),
        error_code=_code(details.get("code")),
        error_message=_text(details.get("message")) or _text(error),
        error_type=_text(details.get("type")),
    )


def _code(value: object) -> str | None:
    """A code; one that is a status may come as a number."""
    return _text(value) or (str(value) if _whole(value) in _STATUSES else None)


def _status(response: Json) -> int | None:
    if "status_code" in response:
        told = response["status_code"]
        # Some write the reason behind it: "200 OK".
        status = _whole(told.partition(" ")[0] if isinstance(told, str) else told)
        return status if status in _STATUSES else None
    # Some servers leave it out. An answer is an answer; an error is asked again.
    body = _object(response.get("body"))
    return 200 if body and not body.get("error") else None


_STATUSES = frozenset((*range(200, 300), *range(400, 600)))
"""What can be an answer or an error; with another one a prompt counts as not run."""


def _body(value: object) -> Any:
    """A body; one server writes it as a string that holds the object."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _header(value: object) -> str | None:
    """What may stand in the header of a response."""
    return value if isinstance(value, str) and _HEADER.fullmatch(value) else None


_HEADER = re.compile(r"[!-~]{1,200}")


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    # Parts are joined once per line: a 20 MB row comes in hundreds of chunks.
    parts: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        for start in rest:
            yield b"".join(parts)
            parts = [start]
    if last := b"".join(parts):
        yield last


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _objects(value: object) -> list[Json]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Json", item) for item in items if isinstance(item, dict)]


def _text(value: object) -> str | None:
    return _sound(value) if isinstance(value, str) and value else None


def _sound(text: str) -> str:
    """A text that may be written anywhere: half an emoji cannot be, as UTF-8."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None


def _time(value: object) -> datetime | None:
    """A moment, in seconds since 1970; some servers write milliseconds, or a date."""
    seconds = _whole(value)
    try:
        if seconds is None:
            told = datetime.fromisoformat(value) if isinstance(value, str) else None
            return told.replace(tzinfo=told.tzinfo or UTC) if told else None
        return datetime.fromtimestamp(seconds if seconds < _IN_MS else seconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


_IN_MS = 32_503_680_000
"""The year 3000, in seconds: a later time is one in milliseconds."""
