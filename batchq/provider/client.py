"""The one module that calls a Batch API.

One attempt per call: the journey's own clock does the repeating, so that a step never
outlives its lease, and `batches.create`, which has no idempotency key, is never sent twice.
Whatever goes wrong is a ProviderError, which carries no key, no header and no SDK object.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

from batchq.errors import ProviderNotFound, ProviderUnclear
from batchq.provider.descriptions import BATCH_KEY, ProviderBatch
from batchq.provider.parse import parse_batch, split_lines
from batchq.provider.sending import CONNECT_SECONDS, CONTROL_SECONDS, PAGE, Sender, timeout
from batchq.provider.values import Json, text_in, time_in

if TYPE_CHECKING:
    from pathlib import Path

    from batchq.settings.account import Account
    from batchq.settings.record import Settings

SILENCE_SECONDS = 60.0  # a slow transfer that moves may take as long as it needs
STORED_A_SECOND = 1_000_000  # bytes: how fast a provider stores a file that it has, at the least


class Provider:
    """The Batch API of one account. Safe to share between threads and to carry over a fork."""

    def __init__(self, name: str, account: Account) -> None:
        self.name = name
        self.account = account
        self._sender = Sender(name, account)

    def __repr__(self) -> str:
        return f"Provider({self.name!r})"

    def upload(self, path: Path, *, name: str, expires_after: timedelta | None) -> str:
        """Upload a batch file under the file name `name`; gives its file id.

        The file is read as it is sent, so memory does not grow with it.
        """
        storing = CONTROL_SECONDS + path.stat().st_size / STORED_A_SECOND
        with path.open("rb") as content:
            # An open file streams; a path or bytes would be read into memory by the SDK.
            sent = self._sender.json(
                "files.create",
                lambda client: client.files.with_raw_response.create(
                    file=(name, content, "application/jsonl"),
                    purpose="batch",
                    timeout=timeout(SILENCE_SECONDS, read=storing),
                    **_expires("expires_after", expires_after),
                ),
            )
        return self._sender.id_in(sent, "files.create")

    def find_file(self, name: str, *, since: datetime) -> str | None:
        """The newest batch file of that name that was uploaded after `since`, give or take."""
        found = self._sender.pages(
            "files.list",
            lambda client, after: client.files.with_raw_response.list(
                purpose="batch", order="desc", limit=PAGE, **after
            ),
            since,
        )
        named = [file for file in found if file.get("filename") == name and text_in(file.get("id"))]
        newest = max(named, key=lambda file: time_in(file.get("created_at")) or since, default=None)
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
        created = self._sender.json(
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
        found = self._sender.pages(
            "batches.list",
            lambda client, after: client.batches.with_raw_response.list(limit=PAGE, **after),
            since,
        )
        return [self._batch(one, "batches.list") for one in found]

    def retrieve(self, batch_id: str) -> ProviderBatch:
        """The batch as it is now."""
        batch = self._sender.json(
            "batches.retrieve",
            lambda client: client.batches.with_raw_response.retrieve(batch_id),
        )
        return self._batch(batch, "batches.retrieve")

    def cancel(self, batch_id: str) -> ProviderBatch:
        """Ask for the batch to stop; it is usually ``cancelling`` for some minutes after."""
        batch = self._sender.json(
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
            response = self._sender.call(
                "files.content",
                lambda client: stack.enter_context(
                    client.files.with_streaming_response.content(
                        file_id, timeout=timeout(SILENCE_SECONDS)
                    )
                ),
            )
            if "text/html" in response.headers.get("content-type", ""):
                # A gateway's, with status 200. Its lines are no rows that went missing.
                raise ProviderUnclear(self.name, "files.content", "the answer is a web page")
            yield from split_lines(self._sender.chunks(response.iter_bytes()))

    def look(self) -> timedelta | None:
        """Ask something that costs nothing, to see whether the account is there and its key taken.

        Gives how far this machine's clock is ahead of the provider's, to a second or so; None where
        the provider does not tell the time.
        """
        response = self._sender.call(
            "batches.list",
            lambda client: client.batches.with_raw_response.list(limit=1, timeout=CONNECT_SECONDS),
        )
        self._sender.read("batches.list", response.http_response.content)
        told = response.headers.get("date")
        try:
            return None if told is None else datetime.now(UTC) - parsedate_to_datetime(told)
        except (ValueError, TypeError):  # no date, or one without its zone
            return None

    def delete_file(self, file_id: str) -> None:
        """Delete a file; one that is gone already is fine."""
        try:
            self._sender.call("files.delete", lambda client: client.files.delete(file_id))
        except ProviderNotFound:
            return

    def _batch(self, answer: Json, call: str) -> ProviderBatch:
        self._sender.id_in(answer, call)
        return parse_batch(answer)

    def carries(self) -> dict[str, str]:
        """The headers of each of its requests, by lower-case name; as secret as its key."""
        return self._sender.carries()


_providers: dict[tuple[int, str, str], Provider] = {}


def provider_for(settings: Settings, name: str) -> Provider:
    """This process's Provider of the account `name`."""
    account = settings.accounts[name]
    identity = (os.getpid(), name, account.model_dump_json())
    if identity not in _providers:
        _providers[identity] = Provider(name, account)
    return _providers[identity]


def _expires(argument: str, after: timedelta | None) -> dict[str, Any]:
    if after is None:
        return {}
    return {argument: {"anchor": "created_at", "seconds": int(after.total_seconds())}}
