"""What an account needs on the way to its provider: headers, certificates, a proxy, a client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

from batchq.errors import ConfigurationError
from batchq.settings.sources import fingerprint, function_source, is_source, read

__all__ = [
    "Headers",
    "check_certificate",
    "check_headers",
    "check_http_client",
    "check_path",
    "check_proxy",
    "headers_shown",
    "read_headers",
    "read_proxy",
]

Headers = dict[str, str]

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9-]*) (.+)")
"""As in `Bearer env:NAME`: the secret has a word before it that is none."""


def check_headers(value: object) -> Headers:
    if value is None:
        return {}
    given = cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {1: 1}
    if not all(_is_header(name, text) for name, text in given.items()):
        # Not a ValueError: pydantic would keep the values, which may be keys, in its own error.
        raise ConfigurationError(
            "headers",
            None,
            'accepted is a dict of texts by name of header, such as {"x-team": "search", '
            '"x-gateway-key": "env:GATEWAY_KEY", "x-auth": "Bearer file:/run/secrets/gateway"}',
        )
    return cast("Headers", dict(given))


def _is_header(name: object, value: object) -> bool:
    texts = isinstance(name, str) and isinstance(value, str)
    return texts and bool(_NAME.fullmatch(str(name)) and _VALUE.fullmatch(str(value)))


def headers_shown(headers: Headers) -> Headers:
    """Where each value comes from; of one that stands there itself, its fingerprint."""
    return {
        name: value if is_source(_parts(value)[1]) else f"…{fingerprint(value)}"
        for name, value in headers.items()
    }


def _parts(value: str) -> tuple[str, str]:
    """The word before the secret, with its blank, and the rest."""
    found = _SCHEME.fullmatch(value)
    return (f"{found[1]} ", found[2]) if found is not None else ("", value)


def read_headers(headers: Headers) -> Headers:
    """What they are now, by lower-case name."""
    return {name.lower(): _read_header(name, value) for name, value in headers.items()}


def _read_header(name: str, value: str) -> str:
    scheme, rest = _parts(value)
    if not is_source(rest):
        return value
    return scheme + read(rest, f"headers[{name!r}]", "value")


def check_path(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value and "\n" not in value):
        return value
    raise ConfigurationError("ca", None, "accepted is the path of a file of PEM certificates")


def check_certificate(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    given = (value,) if isinstance(value, str) else value
    parts = cast("tuple[object, ...]", tuple(given)) if isinstance(given, (tuple, list)) else ()  # pyright: ignore[reportUnknownArgumentType]
    files = [one for one in parts if isinstance(one, str) and one and "\n" not in one]
    if len(files) == len(parts) and len(parts) in {1, 2}:
        return tuple(files)
    raise ConfigurationError(
        "check_certificate",
        None,
        "accepted is the path of a PEM file with the client's certificate and key, or the paths "
        "of both, certificate first",
    )


def check_proxy(value: object) -> str | None:
    """A proxy's URL, or where it comes from: one with a password is a secret."""
    if value is None or is_source(value):
        return cast("str | None", value)
    if isinstance(value, str) and _is_proxy(value, with_password=False):
        return value
    raise ConfigurationError(
        "check_proxy",
        None,
        'accepted is http://host:port, or "env:NAME" or "file:/path" for one with a password',
    )


def _is_proxy(url: str, *, with_password: bool) -> bool:
    parts = urlsplit(url)
    known = parts.scheme in {"http", "https", "socks5", "socks5h"} and bool(parts.hostname)
    return known and (with_password or parts.username is None)


def read_proxy(given: str | None) -> str | None:
    """The proxy's URL as it is now; it may hold a password."""
    if given is None or not is_source(given):
        return given
    url = read(given, "proxy", "URL")
    if not _is_proxy(url, with_password=True):
        raise ConfigurationError("proxy", repr(given), "what can be read from it is no proxy's URL")
    return url


def check_http_client(value: object) -> str | None:
    return None if value is None else function_source(value, "http_client", "httpx client")
