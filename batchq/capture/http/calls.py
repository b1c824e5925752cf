"""Which requests of a batched body are calls of a model. A call is known by where it goes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from batchq.capture.http.twins import as_openai_error
from batchq.capture.run import Run, run_of_call
from batchq.errors import BatchqError
from batchq.settings.config import known_settings

if TYPE_CHECKING:
    from batchq.settings.accounts import Accounts

__all__ = ["Call", "asks_a_model", "in_a_body", "is_openai", "json_object", "reads", "sight"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request of a batched body, whichever library makes it.

    ``is_ours`` is true for what the journal answers: a POST to a batch endpoint of an account,
    whoever makes it, and everything that the openai SDK asks. ``at_account`` is true for all that
    goes to an account's base URL.
    """

    run: Run
    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    is_ours: bool
    at_account: bool

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def words(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_socket(self) -> bool:
        """True for the handshake of a WebSocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"


def in_a_body() -> bool:
    """False where no request that is made here can be one of a batched body."""
    try:
        return run_of_call("") is not None
    except BatchqError:
        return True


def sight(method: str, url: Any, headers: Mapping[str, str]) -> Call | None:
    """The call that a request is; None where it is nothing to look at, and goes out as it is.

    Raises ThreadWithoutRun or RunEnded where nobody can tell whose call it is.
    """
    try:
        # First, and without the URL: most requests of a process are made in no batched body.
        run = run_of_call("")
    except BatchqError:
        run = _run_of_stray(method, str(url), headers)
    return None if run is None else _sight(run, method, _as_http(str(url)), headers)


def _run_of_stray(method: str, url: str, headers: Mapping[str, str]) -> Run | None:
    """What `run_of_call` says of a request that belongs to no run, if it is a call of a model."""
    known = [each.accounts for each in known_settings()]
    if not any(_is_ours(accounts, method, url, headers) for accounts in known):
        return None
    try:
        return run_of_call(urlsplit(url).path)
    except BatchqError as error:
        raise as_openai_error(error) from None


def _sight(run: Run, method: str, url: str, headers: Mapping[str, str]) -> Call | None:
    accounts = run.settings.accounts
    call = Call(
        run=run,
        method=method,
        url=url,
        headers=headers,
        is_ours=_is_ours(accounts, method, url, headers),
        at_account=bool(accounts.under(url)),
    )
    return call if call.is_ours or _may_ask(call) else None


def _as_http(url: str) -> str:
    """Where the handshake of a WebSocket goes, as the HTTP request it is."""
    return f"http{url[2:]}" if url.startswith(("ws:", "wss:")) else url


def _is_ours(accounts: Accounts, method: str, url: str, headers: Mapping[str, str]) -> bool:
    if is_openai(headers):
        return True
    return method == "POST" and any(one.endpoint_of(url) for _, one in accounts.under(url))


def is_openai(headers: Mapping[str, str]) -> bool:
    """True for a request that the openai SDK made.

    Other SDKs of the same maker (Anthropic's) send the same headers with a version of their own.
    """
    version = getattr(sys.modules.get("openai"), "__version__", None)
    return (
        version is not None
        and headers.get("x-stainless-lang") == "python"
        and headers.get("x-stainless-package-version") == version
    )


def _may_ask(call: Call) -> bool:
    """True for a request that may ask a model, by what can be seen of it from outside."""
    return call.is_socket or (call.method == "POST" and _kind(call).startswith(_ASKING_KINDS))


_ASKING_KINDS = ("application/json", "multipart/form-data")


def _kind(call: Call) -> str:
    return call.headers.get("content-type", "").lower()


def reads(call: Call) -> bool:
    """True where the request's content is needed to know what becomes of it.

    The files of an upload are not read into memory for that.
    """
    return call.is_ours or _kind(call).startswith("application/json")


def asks_a_model(call: Call, content: bytes) -> bool:
    """True where a request that the journal does not answer asks a model all the same."""
    if call.is_socket or not reads(call):
        return call.at_account and _MODEL_PATHS.search(call.path) is not None
    body = json_object(content)
    if body is None:
        return False
    names_one = isinstance(body.get("model"), str)
    if call.at_account and names_one:
        return True
    # At Azure and Google's the model is in the path.
    asked = names_one or _ASKING_PATHS.search(call.path) is not None
    return asked and not _INPUTS.isdisjoint(body)


_MODEL_PATHS = re.compile(r"/(audio|images|realtime|responses|videos)(/|$)")
"""What sends files, or opens a socket, to ask a model."""
_ASKING_PATHS = re.compile(
    r"(/(completions|embeddings|responses)|:(embed|(stream)?generate)content)/?$", re.IGNORECASE
)
_INPUTS = frozenset({"content", "contents", "documents", "input", "inputs", "messages", "prompt"})


def json_object(content: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(content)
    except ValueError:
        return None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else None
