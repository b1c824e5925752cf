"""The ways to the Redis of the journal: what its URL says, and what Celery's settings say of it.

A journal that follows the result backend or the broker connects with the parameters that Celery
has made of its own settings: TLS, users, timeouts, sentinels. Nothing here connects.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import redis.connection
from kombu.utils import symbol_by_name
from redis.connection import Connection, SSLConnection
from redis.exceptions import RedisError

from batchq.common.record import nearest
from batchq.common.seams import backend_parameters, broker_parameters, follows_default
from batchq.errors import ConfigurationError

__all__ = ["OPTIONS", "Host", "Link", "Source", "check_options", "kind_of", "link_to", "parts_of"]

Kind = Literal["server", "list", "sentinel", "cluster", "socket"]


@dataclass(frozen=True, slots=True)
class Source:
    """A setting of Celery's, ``result_backend`` or ``broker_url``: what it holds, and in our form.

    Its repr shows no URL.
    """

    setting: str
    given: str = field(repr=False)
    urls: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Host:
    """One server; ``login`` is what it takes where others of a list take something else."""

    host: str
    port: int
    login: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False, repr=False)

    @property
    def at(self) -> str:
        return f"{self.host}:{self.port}"

    def at_address(self, host: str, port: int) -> Host:
        return replace(self, host=host, port=port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A way to Redis: who is to be asked, and with which parameters of redis-py one connects.

    Its repr shows no parameters, for passwords are among them.
    """

    kind: Kind
    hosts: tuple[Host, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    most: int | None = None
    """Connections that one process may open at a time."""
    master_name: str = ""
    min_other_sentinels: int = 0
    sentinel_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def is_verified(self) -> bool:
        """False where it is TLS and nobody looks whether the server is who it says it is."""
        how = self.parameters.get("ssl_cert_reqs", "required")
        return not self.is_tls or "none" not in str(getattr(how, "name", how)).lower()

    @property
    def is_tls(self) -> bool:
        return issubclass(self.parameters.get("connection_class", Connection), SSLConnection)


# URLs

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


def _parsed(url: str) -> dict[str, Any]:
    """The parameters in a URL, as redis-py reads them."""
    scheme, _, rest = url.partition("://")
    if scheme == "sentinel":
        scheme = "redis"
    return dict(_parse_url(f"{scheme.removesuffix('+cluster')}://{rest}"))


def _host_of(url: str) -> Host:
    given = _parsed(url)
    scheme = url.partition("://")[0]
    port = given.get("port") or _PORTS.get(scheme, 6379)
    return Host(given.get("host") or "localhost", int(port))


def _login(url: str) -> dict[str, Any]:
    """Of one server of a list: none of it is another's."""
    given = _parsed(url)
    login = {name: given.get(name) for name in sorted(_LOGIN)}
    return {**login, "db": given.get("db") or 0}


def _same_servers(one: str, other: str) -> bool:
    def servers(urls: str) -> set[object]:
        return {
            (kind_of(urls) == "sentinel", _host_of(url).at) if kind_of(urls) != "socket" else url
            for url in parts_of(urls)
        }

    return bool(servers(one) & servers(other))


# Options

_SENTINEL = {"master_name", "min_other_sentinels", "sentinel_kwargs"}


def _names() -> frozenset[str]:
    known = {
        name
        for kind in SSLConnection.__mro__
        for name in inspect.signature(kind).parameters
        if name.startswith(("ssl_", "socket_"))
    }
    few = {"username", "password", "credential_provider", "client_name", "health_check_interval"}
    return frozenset(known | few | _SENTINEL | {"max_connections"})


OPTIONS = _names()
"""What `batchq_redis_options` may hold: what concerns the connection, and not the replies."""


def check_options(given: Mapping[str, Any]) -> None:
    """Raises ConfigurationError at a name that is none; values are not shown."""
    for name in given:
        if name not in OPTIONS:
            what = "a connection to Redis has no option of that name"
            setting = f"batchq_redis_options[{name!r}]"
            raise ConfigurationError(setting, None, what, nearest(name, OPTIONS))


# Links


def link_to(
    urls: str, options: Mapping[str, Any], app: Any = None, sources: Sequence[Source] = ()
) -> Link:
    """The way to `urls`. Where one of Celery's `sources` is the same server, its parameters hold;
    what the URL itself and the `options` say goes before them.

    Raises ConfigurationError, which names the setting that is wrong.
    """
    kind = kind_of(urls)
    followed = next((one for one in sources if _same_servers(urls, one.urls)), None)
    theirs = {} if followed is None else _of_celery(app, followed, same=followed.urls == urls)
    said = _over(theirs, {**_parsed(parts_of(urls)[0]), **options})
    setting = "batchq_redis_url" if followed is None else followed.setting
    if kind == "sentinel" and not said.get("master_name"):
        raise _no_master_name(setting)
    same = followed is not None and followed.urls == urls
    hosts = _hosts(urls, kind, theirs if same else {}, options)
    sentinel = {name: said.pop(name) for name in _SENTINEL if said.get(name) is not None}
    most = said.pop("max_connections", None)
    parameters = _for_redis(said, kind, setting)
    return Link(kind=kind, hosts=hosts, parameters=parameters, most=most, **sentinel)


def _hosts(
    urls: str, kind: Kind, theirs: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Host, ...]:
    parts = parts_of(urls)
    match kind:
        case "socket":
            return ()
        case "list":
            said = {name: value for name, value in options.items() if name in _LOGIN}
            logins = ({**_login(one), **said} for one in parts)
            hosts = map(_host_of, parts)
            return tuple(
                replace(one, login=login) for one, login in zip(hosts, logins, strict=True)
            )
        case "server" if theirs.get("host"):
            return (Host(theirs["host"], int(theirs["port"])),)  # redis_host, redis_port
        case _:
            return tuple(map(_host_of, parts))


_LOGIN = {"username", "password"}


def _over(theirs: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    said = {**theirs, **own}
    if "credential_provider" in own and isinstance(own["credential_provider"], str):
        # By its name, in a URL. Celery has made one of it already, where it is its own.
        made = theirs.get("credential_provider")
        said["credential_provider"] = made or symbol_by_name(own["credential_provider"])()
    elif own.get("password"):
        said.pop("credential_provider", None)
    return said


def _no_master_name(setting: str) -> ConfigurationError:
    where = {
        "result_backend": "result_backend_transport_options",
        "broker_url": "broker_transport_options",
    }.get(setting, "batchq_redis_options")
    what = 'Sentinel needs the name of its primary, as in {"master_name": "mymaster"}'
    return ConfigurationError(where, None, what)


_READERS: Mapping[str, Callable[[Any, str], tuple[dict[str, Any], dict[str, Any]]]] = {
    "result_backend": backend_parameters,
    "broker_url": broker_parameters,
}

_OF_RESULTS = ("socket_timeout", "socket_connect_timeout", "max_connections")
"""Parameters that have a setting of Celery's, redis_…, with a default that is not meant for us."""


def _of_celery(app: Any, source: Source, *, same: bool) -> dict[str, Any]:
    """Celery's parameters; of another database than its own where they are not the `same`."""
    setting = source.setting
    try:
        parameters, options = _READERS[setting](app, source.given)
    except (ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
        if setting == "broker_url" and "master_name" in str(error):
            raise _no_master_name(setting) from None
        words = " ".join(str(error).split())
        raise ConfigurationError(setting, None, f"Celery cannot use it: {words}") from None
    if setting == "result_backend":
        for name in _OF_RESULTS:
            if follows_default(app, f"redis_{name}"):
                parameters.pop(name, None)
    if not same:
        parameters.pop("db", None)
    _look_at_tls(parameters, source.urls)
    return {**parameters, **{name: options[name] for name in _SENTINEL if name in options}}


def _look_at_tls(parameters: Mapping[str, Any], urls: str) -> None:
    kind = parameters.get("connection_class", Connection)
    if urls.startswith("rediss:") and not issubclass(kind, SSLConnection):
        # kombu passes over a True: Celery itself would speak plain to it, and wait.
        what = 'for a Redis it has to be a dict, such as {"ssl_cert_reqs": ssl.CERT_REQUIRED}'
        raise ConfigurationError("broker_use_ssl", None, what)


_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_NOT_OURS = (
    *("host", "port", "hosts", "virtual_host"),
    # What was cut is tried again anyway, and replies are read as bytes.
    *("retry", "retry_on_timeout", "retry_on_error", "decode_responses"),
)


def _for_redis(said: Mapping[str, Any], kind: Kind, setting: str) -> dict[str, Any]:
    """As a connection of redis-py takes it, looked at: nothing is found out at the first use."""
    parameters = {
        name: value for name, value in said.items() if value is not None and name not in _NOT_OURS
    }
    tls = any(name.startswith("ssl_") for name in parameters)
    connects = cast("type[Any]", parameters.pop("connection_class", Connection))
    if kind == "socket":
        parameters.pop("socket_keepalive", None)  # There is nothing to keep alive.
    elif kind == "sentinel" or connects is Connection:
        tls = tls or issubclass(connects, SSLConnection)
        connects = SSLConnection if tls else Connection
    if isinstance(how := parameters.get("ssl_cert_reqs"), str):
        parameters["ssl_cert_reqs"] = how.lower().removeprefix("cert_")
    for name in _FILES:
        if name in parameters and not Path(parameters[name]).exists():
            what = f"{name} names {parameters[name]}, and there is no such file"
            raise ConfigurationError(setting, None, what)
    try:
        connects(**parameters)
    except (TypeError, ValueError, RedisError) as error:
        what = f"a connection to Redis does not take what is said of it: {error}"
        raise ConfigurationError(setting, None, what) from None
    return {**parameters, "connection_class": connects}
