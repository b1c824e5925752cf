"""Provider accounts: where each is, where its key comes from, and whose a call is."""

from __future__ import annotations

import base64
import difflib
import hashlib
import importlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import BeforeValidator, PositiveInt, ValidationError, model_validator

from batchq.errors import ConfigurationError, UnknownAccount
from batchq.validation import Record, explain

__all__ = ["BATCH_ENDPOINTS", "Account", "Accounts", "Limits", "fingerprint", "read_accounts"]

BATCH_ENDPOINTS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/edits",
        "/v1/images/generations",
        "/v1/moderations",
        "/v1/responses",
        "/v1/videos",
    }
)


class Limits(Record):
    """What the provider takes: of one file, and of prompts waiting at the same time."""

    _what: ClassVar[str] = "limit"

    lines: PositiveInt = 50_000
    bytes: PositiveInt = 190_000_000
    embedding_inputs: PositiveInt = 50_000
    enqueued_tokens: PositiveInt | dict[str, PositiveInt] | None = None


_SOURCES = (
    'accepted is where the {what} comes from: "env:NAME", "file:/path" or '
    '"call:package.module:function"; the {what} itself is not accepted here, so that it cannot '
    "reach a log, a message or a page"
)
_SOURCE = re.compile(r"env:[A-Za-z_]\w*|file:/.+|call:[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
_OPENAI = "https://api.openai.com/v1"
_WEBHOOK_SECRET = "env:OPENAI_WEBHOOK_SECRET"  # noqa: S105 where it is, and not what


def _key_source(value: object) -> str:
    return _source(value, "api_key", "key")


def _secret_source(value: object) -> str:
    return _source(value, "webhook_secret", "secret")


def _source(value: object, setting: str, what: str) -> str:
    if isinstance(value, str) and _SOURCE.fullmatch(value):
        return value
    # Not a ValueError: pydantic would keep the value, which may be a key, in its own error.
    raise ConfigurationError(setting, None, _SOURCES.format(what=what))


def _base_url(value: object) -> str:
    if isinstance(value, str):
        parts = urlsplit(value.strip())
        plain = parts.username is None and not parts.query and not parts.fragment
        if parts.scheme in ("http", "https") and parts.hostname and plain:
            return urlunsplit(parts).rstrip("/")
    raise ConfigurationError(
        "base_url", None, "accepted is http(s)://host[:port][/path], with no user, query or key"
    )


def _provider(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        from batchq.tariffs import known_provider

        return known_provider(value)
    raise ConfigurationError(
        "prices", None, "accepted is a provider of genai-prices, such as 'openai', or None"
    )


class Account(Record):
    """One account at one provider: where it is, and where its key comes from.

    Left out, `base_url` and `api_key` follow the environment variables the SDK reads.
    The key is read when it is needed and kept nowhere in here.
    """

    _what: ClassVar[str] = "setting of an account"

    kind: Literal["openai", "azure"] = "openai"
    base_url: Annotated[str, BeforeValidator(_base_url)] = ""
    api_key: Annotated[str, BeforeValidator(_key_source)] = ""
    api_version: str | None = None
    organization: str | None = None
    project: str | None = None
    webhook_secret: Annotated[str, BeforeValidator(_secret_source)] = _WEBHOOK_SECRET
    limits: Limits = Limits()
    prices: Annotated[str | None, BeforeValidator(_provider)] = None

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        values = dict(cast("dict[str, object]", given))
        azure = values.get("kind") == "azure"
        if values.get("base_url") is None:
            values["base_url"] = _azure_endpoint() if azure else _openai_endpoint()
        if values.get("api_key") is None:
            values["api_key"] = "env:AZURE_OPENAI_API_KEY" if azure else "env:OPENAI_API_KEY"
        if azure:
            values["base_url"] = _resource(values["base_url"])
            if values.get("api_version") is None:
                values["api_version"] = os.environ.get("OPENAI_API_VERSION") or None
        return values

    def key(self) -> str:
        """The key as it is now; keep it out of everything that is stored or shown."""
        return _read(self.api_key, "api_key", "key")

    def webhook_secrets(self) -> list[str]:
        """The secrets that sign this account's webhooks, as they are now: while one is rotated,
        there are two. Keep them out of everything that is stored or shown.
        """
        held = _read(self.webhook_secret, "webhook_secret", "secret")
        secrets = [secret for part in held.split(",") if (secret := part.strip())]
        if not all(map(_keeps_a_secret, secrets)):
            why = "what is there is none: one is cut off or mistyped"
            raise _nothing_read(self.webhook_secret, "webhook_secret", "secret", why)
        return secrets

    def matches(self, url: str) -> bool:
        """True where `url` is under this account's base URL."""
        return self._rest_of(url) is not None

    def endpoint_of(self, url: str) -> str | None:
        """What a batch line has to say for a request to `url`; None where no batch can take it."""
        rest = self._rest_of(url)
        if rest is None:
            return None
        if self.kind == "azure":
            rest = re.sub(r"^/openai(/v1|/deployments/[^/]+)?(?=/)", "", rest)
        endpoint = f"/v1{rest}"
        return endpoint if endpoint in BATCH_ENDPOINTS else None

    def deployment_of(self, url: str) -> str | None:
        """The Azure deployment in a request's URL: it decides over the model in its body."""
        rest = self._rest_of(url) if self.kind == "azure" else None
        found = re.match(r"/openai/deployments/([^/]+)/", rest or "")
        return None if found is None else unquote(found[1])

    def _rest_of(self, url: str) -> str | None:
        base, parts = urlsplit(self.base_url), urlsplit(url)
        if _origin(base) != _origin(parts):
            return None
        rest = parts.path.removeprefix(base.path)
        inside = parts.path.startswith(base.path) and rest[:1] in ("", "/")
        return rest.rstrip("/") if inside else None


def _openai_endpoint() -> str:
    return os.environ.get("OPENAI_BASE_URL") or _OPENAI


def _azure_endpoint() -> str:
    endpoint = os.environ.get("AZURE_OPENAI_ENDPOINT")
    if not endpoint:
        raise ConfigurationError(
            "base_url",
            None,
            "an azure account needs its resource URL, https://NAME.openai.azure.com, here "
            "or in AZURE_OPENAI_ENDPOINT",
        )
    return endpoint


def _resource(url: object) -> object:
    """An Azure resource URL without the /openai or /openai/v1 that some clients put behind it."""
    return re.sub(r"/openai(/v1)?/?$", "", url) if isinstance(url, str) else url


def _origin(parts: Any) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _keeps_a_secret(secret: str) -> bool:
    """False for what is so short that anybody could sign with it: of "whsec_" nothing is left."""
    if not secret.startswith("whsec_"):
        return len(secret) >= _SHORTEST_SECRET
    try:
        return len(base64.b64decode(secret.removeprefix("whsec_"))) >= _SHORTEST_SECRET
    except ValueError:
        return False


_SHORTEST_SECRET = 16


def _read(source: str, setting: str, what: str) -> str:
    kind, _, where = source.partition(":")
    try:
        found: object = _READERS[kind](where, setting)
    except (OSError, UnicodeDecodeError) as error:
        raise _nothing_read(source, setting, what, type(error).__name__) from None
    if not isinstance(found, str) or not found.strip():
        raise _nothing_read(source, setting, what, "nothing there")
    return found.strip()


def _nothing_read(source: str, setting: str, what: str, why: str) -> ConfigurationError:
    return ConfigurationError(setting, repr(source), f"no {what} can be read from it ({why})")


def _read_environment(name: str, _setting: str) -> str | None:
    return os.environ.get(name)


def _read_file(path: str, _setting: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _read_call(target: str, setting: str) -> object:
    module, _, function = target.partition(":")
    try:
        return getattr(importlib.import_module(module), function)()
    except Exception as error:  # noqa: BLE001 a user's function raises what it likes
        # The name of the error only: its text comes from a vault's client and may hold anything.
        raise ConfigurationError(
            setting, repr(f"call:{target}"), f"the call failed ({type(error).__name__})"
        ) from None


_READERS: Mapping[str, Any] = {
    "env": _read_environment,
    "file": _read_file,
    "call": _read_call,
}


def fingerprint(key: str) -> str:
    """Tells two keys apart without showing either."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


class Accounts(Mapping[str, Account]):
    """The configured accounts by name, and the way from a captured call to its account."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = dict(accounts)
        self._seen: dict[str, str] = {}

    def __getitem__(self, name: str) -> Account:
        try:
            return self._accounts[name]
        except KeyError:
            close = difflib.get_close_matches(name, list(self._accounts), n=1)
            raise ConfigurationError(
                "batchq_accounts",
                None,
                f"there is no account {name!r}; work that was asked under it needs it back",
                repr(close[0]) if close else None,
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._accounts

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    def __repr__(self) -> str:
        return f"Accounts({self._accounts!r})"

    def under(self, url: str) -> list[tuple[str, Account]]:
        """The accounts under whose base URL `url` is, the most specific first."""
        under = [(name, account) for name, account in self.items() if account.matches(url)]
        return sorted(under, key=lambda named: -len(named[1].base_url))

    def match(self, url: str, key: str) -> tuple[str, Account]:
        """The account a call to `url` with `key` belongs to.

        The most specific base URL goes first; of several accounts with one base URL the key
        decides, and of several with one key too, the first in the settings. A call that bears no
        key at all belongs to the account that has its base URL, if it is the only one.
        Raises UnknownAccount, which says what to configure.
        """
        under = self.under(url)
        if not key and len(under) == 1:
            return under[0]
        wanted = fingerprint(key)
        keys: list[str] = []
        for name, account in under:
            if self._seen.get(name) == wanted:
                return name, account
            try:
                self._seen[name] = fingerprint(account.key())
            except ConfigurationError as error:
                keys.append(f"of account {name!r}, {str(error).rstrip('.')}")
                continue
            if self._seen[name] == wanted:
                return name, account
            keys.append(
                f"account {name!r} has the key {self._seen[name]} (from {account.api_key!r})"
            )
        raise UnknownAccount(_client_base(url), _why_unknown(url, wanted, keys), list(self))


def _why_unknown(url: str, wanted: str, keys: list[str]) -> str:
    if keys:
        return (
            f"its base URL is configured, its key (fingerprint {wanted}) is not: "
            + "; ".join(keys)
            + ". Give the client that account's key, or add an account to batchq_accounts with "
            "the same base_url and the place the client's key comes from as api_key"
        )
    example = f'{{"base_url": "{_client_base(url)}", "api_key": "env:NAME_OF_ITS_KEY"}}'
    return f"no account has that base URL; add one to batchq_accounts, such as {example}"


def _client_base(url: str) -> str:
    """The base URL a client must have had to make a request to `url`; no query, no user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = parts.path.rstrip("/")
    for endpoint in sorted(BATCH_ENDPOINTS, key=len, reverse=True):
        path = path.removesuffix(endpoint.removeprefix("/v1"))
    return urlunsplit((parts.scheme, host, path, "", ""))


_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def read_accounts(value: object) -> Accounts:
    if isinstance(value, Accounts):
        return value
    if not isinstance(value, Mapping) or not value:
        raise ConfigurationError(
            "accounts", None, 'accepted is a dict of accounts by name, such as {"default": {…}}'
        )
    return Accounts(
        {
            cast("str", name): _account(name, account)
            for name, account in cast("Mapping[object, object]", value).items()
        }
    )


def _account(name: object, given: object) -> Account:
    if not isinstance(name, str) or not _ACCOUNT_NAME.fullmatch(name):
        raise ConfigurationError(
            "accounts", repr(name), "accepted as a name are up to 64 of A-Z a-z 0-9 _ . -"
        )
    where = f"accounts[{name!r}]"
    try:
        return Account.model_validate(given)
    except ConfigurationError as error:
        setting = f"{where}.{error.setting}"
        raise ConfigurationError(setting, error.given, error.expected, error.nearest) from None
    except ValidationError as error:
        raise explain(error, where + ".", show=False) from None
