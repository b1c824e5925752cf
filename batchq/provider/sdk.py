"""The SDK's client of an account: made as its settings say, of its credentials as they are now."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchq.errors import ConfigurationError
from batchq.settings.gateway import read_proxy
from batchq.settings.sources import call_function

if TYPE_CHECKING:
    from openai import OpenAI

    from batchq.settings.account import Account

__all__ = ["Credentials", "carried_by", "credentials_of", "new_client"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that is read anew for each call, as it is now. Another of it wants another client.

    ``changed`` are the times at which the files of certificates were written.
    """

    key: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    proxy: str | None = field(repr=False)
    changed: tuple[int, ...]

    def hide(self, text: str) -> str:
        """``text`` without any of them: what a provider or a gateway says may repeat one."""
        secrets = [self.key, self.proxy or "", *(value for _, value in self.headers)]
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "…")
        return text


def credentials_of(account: Account) -> Credentials:
    """Raises ConfigurationError, which says what cannot be read."""
    return Credentials(
        key=account.key() if account.has_key else "",
        headers=tuple(account.read_headers().items()),
        proxy=read_proxy(account.proxy),
        changed=tuple(map(_written_at, filter(None, (account.ca, *(account.certificate or ()))))),
    )


def _written_at(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0  # Where it is read, this is told in words.


def new_client(account: Account, now: Credentials, timeout: Any) -> OpenAI:
    """A client that asks once, and each time on a connection of its own.

    A connection that was kept may have died meanwhile with nobody told, and the next upload would
    wait on it for as long as an upload may take.
    """
    options: dict[str, Any] = {
        "timeout": timeout,
        "max_retries": 0,
        "default_headers": {"Connection": "close", **dict(now.headers)},
    }
    if account.client is not None:
        return _client_of_function(account.client, options)
    options |= {"organization": account.organization, "http_client": _http_client(account, now)}
    if account.kind == "azure" and account.api_version is not None:
        return _azure_client(account, now.key, options)
    import openai

    return openai.OpenAI(
        base_url=account.base_url + ("/openai/v1" if account.kind == "azure" else ""),
        api_key=now.key,
        project=account.project,
        **options,
    )


def _client_of_function(client: str, options: Mapping[str, Any]) -> OpenAI:
    import openai

    made = call_function(client, "client")
    if not isinstance(made, openai.OpenAI):
        raise ConfigurationError(
            "client",
            repr(client),
            f"it gives {type(made).__name__}, and accepted is a function that gives an "
            "openai.OpenAI or openai.AzureOpenAI",
        )
    return made.with_options(**options)


def _azure_client(account: Account, key: str, options: Mapping[str, Any]) -> OpenAI:
    import openai

    token = account.azure_ad_token is not None
    return openai.AzureOpenAI(
        azure_endpoint=account.base_url,
        api_version=account.api_version,
        api_key=None if token else key,
        azure_ad_token=key if token else None,
        **options,
    )


def _http_client(account: Account, now: Credentials) -> Any:
    """The way to the provider; None where it is the SDK's own."""
    if account.http_client is not None:
        return call_function(account.http_client, "http_client")
    way: dict[str, Any] = {}
    if account.ca or account.certificate:
        way["verify"] = _certificates(account)
    if now.proxy is not None:
        way["proxy"] = now.proxy
    if not way:
        return None
    import openai

    return openai.DefaultHttpxClient(**way)


def _certificates(account: Account) -> ssl.SSLContext:
    field, given = "ca", account.ca
    try:
        if account.ca is None:
            context: ssl.SSLContext = _httpx().create_ssl_context()
        else:
            context = ssl.create_default_context(cafile=account.ca)
        if account.certificate:
            field, given = "certificate", account.certificate[0]
            # With no password it would be asked for, at a terminal that a worker does not have.
            context.load_cert_chain(*_both(account.certificate), password="")
    except (OSError, ssl.SSLError) as error:
        why = f"no certificate can be read from it ({type(error).__name__})"
        raise ConfigurationError(field, repr(given), why) from None
    return context


def _both(files: tuple[str, ...]) -> tuple[str, str | None]:
    """The file of the certificate, and that of its key where it is another."""
    return files[0], files[1] if len(files) > 1 else None


def _httpx() -> Any:
    """The family that the SDK speaks: httpx2 for openai 3."""
    import openai

    return sys.modules[openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]


def carried_by(client: Any) -> dict[str, str]:
    """The headers of each request of this client, by lower-case name; as secret as its key."""
    own: Mapping[str, object] = client._client.headers  # noqa: SLF001 the SDK shows it nowhere else
    headers: dict[str, object] = {**own, **client.default_headers}
    return {name.lower(): text for name, text in headers.items() if isinstance(text, str)}
