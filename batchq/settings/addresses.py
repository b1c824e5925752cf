"""Where an account is: its base URL as it is given, or in the environment, or at Azure."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from batchq.errors import ConfigurationError

__all__ = ["azure_endpoint", "azure_resource", "openai_endpoint", "origin_of", "read_base_url"]

_OPENAI = "https://api.openai.com/v1"


def read_base_url(value: object) -> str:
    if isinstance(value, str):
        parts = urlsplit(value.strip())
        plain = parts.username is None and not parts.query and not parts.fragment
        if parts.scheme in ("http", "https") and parts.hostname and plain:
            return urlunsplit(parts).rstrip("/")
    raise ConfigurationError(
        "base_url", None, "accepted is http(s)://host[:port][/path], with no user, query or key"
    )


def openai_endpoint() -> str:
    return os.environ.get("OPENAI_BASE_URL") or _OPENAI


def azure_endpoint() -> str:
    endpoint = os.environ.get("AZURE_OPENAI_ENDPOINT")
    if not endpoint:
        raise ConfigurationError(
            "base_url",
            None,
            "an azure account needs its resource URL, https://NAME.openai.azure.com, here "
            "or in AZURE_OPENAI_ENDPOINT",
        )
    return endpoint


def azure_resource(url: object) -> object:
    """An Azure resource URL without the /openai or /openai/v1 that some clients put behind it."""
    return re.sub(r"/openai(/v1)?/?$", "", url) if isinstance(url, str) else url


def origin_of(parts: Any) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
