"""How a request leaves for a provider: by a client of now, once, with every failure translated."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, cast

from batchq.common.own_calls import bypass
from batchq.errors import ConfigurationError, ProviderUnauthorized, ProviderUnclear
from batchq.provider.failures import reason_of, refusal_of
from batchq.provider.sdk import Credentials, carried_by, credentials_of, new_client
from batchq.provider.values import Json, objects_in, text_in, time_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import OpenAI

    from batchq.settings.account import Account

T = TypeVar("T")

CONTROL_SECONDS = 30.0
CONNECT_SECONDS = 10.0
PAGE = 100
LOOK_BACK = timedelta(minutes=5)  # how far the provider's clock may be from ours
LOOK_AT_LEAST = 200  # entries: "newest first" is not promised anywhere


def timeout(seconds: float, **of: float) -> Any:
    """For a request that may take longer than `CONTROL_SECONDS`, as the SDK takes it."""
    import openai

    return openai.Timeout(seconds, connect=CONNECT_SECONDS, **of)


class Sender:
    """Sends the requests of one account, one attempt each, with a client of its own."""

    def __init__(self, name: str, account: Account) -> None:
        self.name = name
        self.account = account
        self._lock = Lock()
        self._made: tuple[int, Credentials, OpenAI] | None = None

    def call(self, call: str, send: Callable[[OpenAI], T]) -> T:
        """The one place where a request leaves: not captured, and every failure translated."""
        import openai

        client, now = self._client()
        try:
            with bypass():
                return send(client)
        except openai.APIStatusError as error:
            failure = refusal_of(self.name, call, error, now)
        except (openai.OpenAIError, OSError) as error:
            failure = ProviderUnclear(self.name, call, reason_of(error, now))
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

    def json(self, call: str, send: Callable[[OpenAI], Any]) -> Json:
        """What the provider answered, untouched by the SDK's models: they guess at other types."""
        return self.read(call, self.call(call, lambda client: send(client).http_response.content))

    def read(self, call: str, content: bytes) -> Json:
        """The JSON object that was answered; ProviderUnclear where it is something else."""
        try:
            answer: object = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            return cast("Json", answer)
        raise ProviderUnclear(self.name, call, "the answer is not a JSON object")

    def pages(self, call: str, send: Callable[[OpenAI, Any], Any], since: datetime) -> list[Json]:
        """The entries of a listing, newest first, back to `since` and a little further."""
        entries: dict[str, Json] = {}
        after: dict[str, str] = {}
        while True:
            page = self.json(call, _after(send, after))
            fresh = {
                entry["id"]: entry
                for entry in objects_in(page.get("data"))
                if text_in(entry.get("id")) and entry["id"] not in entries
            }
            entries |= fresh
            # A provider that ignores `after` gives the same page for ever.
            if not fresh or not page.get("has_more"):
                return list(entries.values())
            times = [time_in(entry.get("created_at")) for entry in fresh.values()]
            old = any(time is not None and time < since - LOOK_BACK for time in times)
            if old and len(entries) >= LOOK_AT_LEAST:
                return list(entries.values())
            after = {"after": list(fresh)[-1]}

    def chunks(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks of a download; ProviderUnclear where it breaks off."""
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

    def id_in(self, answer: Json, call: str) -> str:
        """The id in an answer; ProviderUnclear where it has none."""
        found = text_in(answer.get("id"))
        if found is None:
            raise ProviderUnclear(self.name, call, "the answer has no id")
        return found

    def carries(self) -> dict[str, str]:
        """The headers of each request, by lower-case name; as secret as the key."""
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
                client = new_client(self.account, now, timeout(CONTROL_SECONDS))
                self._made = (os.getpid(), now, client)
            return self._made[2], now

    def _forget_client(self) -> None:
        """Have the next call make one: a client of the user's may hold what is no more taken."""
        with self._lock:
            self._made = None


# A client made before a fork is neither used nor closed here: its pool may hold a lock that
# no thread of this process will ever give back.
_INHERITED: list[OpenAI] = []


def _after(send: Callable[[OpenAI, Any], Any], after: Any) -> Callable[[OpenAI], Any]:
    return lambda client: send(client, after)
