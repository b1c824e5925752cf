"""One account at one provider: where it is, how it says who it is, what it takes."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, ClassVar, Literal, cast
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from batchq.common.record import Record
from batchq.errors import ConfigurationError
from batchq.settings.addresses import (
    azure_endpoint,
    azure_resource,
    openai_endpoint,
    origin_of,
    read_base_url,
)
from batchq.settings.gateway import (
    Headers,
    check_certificate,
    check_headers,
    check_http_client,
    check_path,
    check_proxy,
    headers_shown,
    read_headers,
)
from batchq.settings.limits import BATCH_ENDPOINTS, Limits
from batchq.settings.sources import function_source, keeps_a_secret, nothing_read, read, source

__all__ = ["Account"]

_WEBHOOK_SECRET = "env:OPENAI_WEBHOOK_SECRET"  # noqa: S105 where it is, and not what


def _key_source(value: object) -> str:
    return source(value, "api_key", "key")


def _token_source(value: object) -> str | None:
    return None if value is None else source(value, "azure_ad_token", "token")


def _secret_source(value: object) -> str:
    return source(value, "webhook_secret", "secret")


def _client_source(value: object) -> str | None:
    return None if value is None else function_source(value, "client", "openai.OpenAI client")


def _provider(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        from batchq.settings.prices import known_provider

        return known_provider(value)
    raise ConfigurationError(
        "prices", None, "accepted is a provider of genai-prices, such as 'openai', or None"
    )


class Account(Record):
    """One account at one provider: where it is, how it says who it is, and which way it goes.

    Left out, `base_url` and `api_key` follow the environment variables the SDK reads. Keys and
    tokens are read when they are needed, and kept nowhere in here.
    """

    _what: ClassVar[str] = "setting of an account"

    kind: Literal["openai", "azure"] = "openai"
    base_url: Annotated[str, BeforeValidator(read_base_url)] = ""
    api_key: Annotated[str, BeforeValidator(_key_source)] = ""
    azure_ad_token: Annotated[str | None, BeforeValidator(_token_source)] = None
    client: Annotated[str | None, BeforeValidator(_client_source)] = None
    api_version: str | None = None
    organization: str | None = None
    project: str | None = None
    headers: Annotated[Headers, BeforeValidator(check_headers), PlainSerializer(headers_shown)] = (
        Field(default_factory=dict[str, str], repr=False)
    )
    ca: Annotated[str | None, BeforeValidator(check_path)] = None
    certificate: Annotated[tuple[str, ...] | None, BeforeValidator(check_certificate)] = None
    proxy: Annotated[str | None, BeforeValidator(check_proxy)] = None
    http_client: Annotated[str | None, BeforeValidator(check_http_client)] = None
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
            values["base_url"] = azure_endpoint() if azure else openai_endpoint()
        if all(values.get(way) is None for way in _WAYS):
            values["api_key"] = "env:AZURE_OPENAI_API_KEY" if azure else "env:OPENAI_API_KEY"
        elif values.get("api_key") is None:
            values.pop("api_key", None)
        if azure:
            values["base_url"] = azure_resource(values["base_url"])
            if values.get("api_version") is None:
                values["api_version"] = os.environ.get("OPENAI_API_VERSION") or None
        return values

    @model_validator(mode="after")
    def _one_way(self) -> Account:
        """Of two ways to say one thing nobody could tell which one counts."""
        _only_one(self, _WAYS, "an account says in one way who it is")
        _only_one(self, ("client", "http_client"), "the client has its own")
        for way in ("ca", "certificate", "proxy"):
            _only_one(self, ("client", way), "the client of the function has its own")
            _only_one(self, ("http_client", way), "the http_client of the function has its own")
        if self.azure_ad_token and self.kind != "azure":
            raise ConfigurationError(
                "azure_ad_token", None, 'it is for kind "azure"; elsewhere a token is an api_key'
            )
        return self

    @property
    def has_key(self) -> bool:
        """False where the client of a function of the user's says by itself who it is."""
        return self.client is None

    @property
    def key_source(self) -> str:
        """Where its key, its token, or the client that has one comes from."""
        return self.azure_ad_token or self.client or self.api_key

    def key(self) -> str:
        """The key or token as it is now; keep it out of everything that is stored or shown."""
        if self.azure_ad_token is not None:
            return read(self.azure_ad_token, "azure_ad_token", "token")
        return read(self.api_key, "api_key", "key")

    def read_headers(self) -> dict[str, str]:
        """What each of its requests carries now, by lower-case name; as secret as a key."""
        return read_headers(self.headers)

    def webhook_secrets(self) -> list[str]:
        """The secrets that sign this account's webhooks, as they are now: while one is rotated,
        there are two. Keep them out of everything that is stored or shown.
        """
        held = read(self.webhook_secret, "webhook_secret", "secret")
        secrets = [secret for part in held.split(",") if (secret := part.strip())]
        if not all(map(keeps_a_secret, secrets)):
            why = "what is there is none: one is cut off or mistyped"
            raise nothing_read(self.webhook_secret, "webhook_secret", "secret", why)
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
        if origin_of(base) != origin_of(parts):
            return None
        rest = parts.path.removeprefix(base.path)
        inside = parts.path.startswith(base.path) and rest[:1] in ("", "/")
        return rest.rstrip("/") if inside else None


_WAYS = ("api_key", "azure_ad_token", "client")


def _only_one(account: Account, fields: tuple[str, ...], why: str) -> None:
    given = [name for name in fields if getattr(account, name)]
    if len(given) > 1:
        raise ConfigurationError(given[1], None, f"it cannot stand beside {given[0]}: {why}")
