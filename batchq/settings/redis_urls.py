"""URLs of a Redis, as Celery, kombu and people write them, and as redis-py reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import redis.connection

from batchq.settings.links import Host, Kind

__all__ = [
    "LOGIN",
    "REDIS_URLS",
    "host_of",
    "is_redis",
    "kind_of",
    "login_of",
    "parsed",
    "parts_of",
    "read_redis_url",
    "same_servers",
    "without_password",
]

_parse_url: Callable[[str], dict[str, Any]] = vars(redis.connection)["parse_url"]

_PORTS = {"sentinel": 26379}


def parts_of(urls: str) -> list[str]:
    return [one for one in urls.split(";") if one]


def kind_of(urls: str) -> Kind:
    """Of URLs as `batchq_redis_url` holds them, with ``;`` between."""
    parts = parts_of(urls)
    scheme = parts[0].partition("://")[0]
    if scheme == "unix":
        return "socket"
    if scheme == "sentinel":
        return "sentinel"
    if scheme.endswith("+cluster"):
        return "cluster"
    return "server" if len(parts) == 1 else "list"


def parsed(url: str) -> dict[str, Any]:
    """The parameters in a URL, as redis-py reads them."""
    scheme, _, rest = url.partition("://")
    if scheme == "sentinel":
        scheme = "redis"
    return dict(_parse_url(f"{scheme.removesuffix('+cluster')}://{rest}"))


def host_of(url: str) -> Host:
    given = parsed(url)
    scheme = url.partition("://")[0]
    port = given.get("port") or _PORTS.get(scheme, 6379)
    return Host(given.get("host") or "localhost", int(port))


def login_of(url: str) -> dict[str, Any]:
    """Of one server of a list: none of it is another's."""
    given = parsed(url)
    login = {name: given.get(name) for name in sorted(LOGIN)}
    return {**login, "db": given.get("db") or 0}


def same_servers(one: str, other: str) -> bool:
    def servers(urls: str) -> set[object]:
        return {
            (kind_of(urls) == "sentinel", host_of(url).at) if kind_of(urls) != "socket" else url
            for url in parts_of(urls)
        }

    return bool(servers(one) & servers(other))


LOGIN = {"username", "password"}


_REDIS_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "redis+socket": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
    "sentinel": "sentinel",
    "redis+cluster": "redis+cluster",
    "rediss+cluster": "rediss+cluster",
    "valkey+cluster": "redis+cluster",
    "valkeys+cluster": "rediss+cluster",
}
REDIS_URLS = (
    "accepted is redis://host:port/db, rediss://…, unix:///path?db=0 or redis+socket:///path, "
    "sentinel://host:port/db or redis+cluster://host:port; several of a kind with ; between"
)


def is_redis(url: object) -> bool:
    return isinstance(url, str) and url.partition("://")[0].lower() in _REDIS_SCHEMES


def read_redis_url(given: object) -> str:
    """The URL redis-py wants for a URL as Celery or kombu writes it; several with ``;`` between."""
    urls = given.split(";") if isinstance(given, str) else given
    if not isinstance(urls, (list, tuple)) or not urls:
        raise ValueError(REDIS_URLS)
    each = [_one_redis_url(one) for one in cast("list[object]", urls)]
    schemes = {one.partition("://")[0] for one in each}
    if len(each) > 1 and (len(schemes) > 1 or "unix" in schemes):
        raise ValueError(REDIS_URLS)
    return ";".join(each)


def _one_redis_url(url: object) -> str:
    from redis import ConnectionPool

    if not isinstance(url, str) or not is_redis(url):
        raise ValueError(REDIS_URLS)
    parts = urlsplit(url if "://" in url else f"{url}://")  # Celery takes backend="redis" too
    query = dict(parse_qsl(parts.query))
    if "virtual_host" in query:
        query["db"] = query.pop("virtual_host").lstrip("/")
    if "ssl_cert_reqs" in query:  # Celery writes CERT_NONE, redis-py only knows none.
        query["ssl_cert_reqs"] = query["ssl_cert_reqs"].lower().removeprefix("cert_")
    scheme = _REDIS_SCHEMES[parts.scheme]
    # By hand: urlunsplit drops the empty authority that unix:///path needs.
    tail = f"?{urlencode(query, quote_via=quote)}" if query else ""
    rest = f"://{parts.netloc}{parts.path}{tail}"
    plain = "redis" if scheme == "sentinel" else scheme.removesuffix("+cluster")
    try:
        # Connects to nothing yet.
        ConnectionPool.from_url(plain + rest)  # pyright: ignore[reportUnknownMemberType]
    except ValueError:
        # The error of urllib quotes pieces of the URL, and a password may be one.
        raise ValueError(REDIS_URLS) from None
    return scheme + rest


def without_password(urls: str) -> str:
    return ";".join(map(_one_without_password, urls.split(";")))


def _one_without_password(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}:***@{host}" if at else parts.netloc
    query = re.sub(r"(password=)[^&]*", r"\1***", parts.query)
    return f"{parts.scheme}://{netloc}{parts.path}{'?' + query if query else ''}"
