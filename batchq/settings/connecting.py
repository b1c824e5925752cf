"""The way to the Redis of a journal, of its URL, its options and what Celery's settings say of it.

A journal that follows the result backend or the broker connects with the parameters that Celery
has made of its own settings: TLS, users, timeouts, sentinels. Nothing here connects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kombu.utils import symbol_by_name
from redis.connection import Connection, SSLConnection

from batchq.common.seams.connections import backend_parameters, broker_parameters, follows_default
from batchq.errors import ConfigurationError
from batchq.settings.links import Host, Kind, Link, Source
from batchq.settings.redis_options import OF_SENTINEL, as_redis_takes_it
from batchq.settings.redis_urls import (
    LOGIN,
    host_of,
    kind_of,
    login_of,
    parsed,
    parts_of,
    same_servers,
)

__all__ = ["link_to"]


def link_to(
    urls: str, options: Mapping[str, Any], app: Any = None, sources: Sequence[Source] = ()
) -> Link:
    """The way to `urls`. Where one of Celery's `sources` is the same server, its parameters hold;
    what the URL itself and the `options` say goes before them.

    Raises ConfigurationError, which names the setting that is wrong.
    """
    kind = kind_of(urls)
    followed = next((one for one in sources if same_servers(urls, one.urls)), None)
    theirs = {} if followed is None else _of_celery(app, followed, same=followed.urls == urls)
    said = _over(theirs, {**parsed(parts_of(urls)[0]), **options})
    setting = "batchq_redis_url" if followed is None else followed.setting
    if kind == "sentinel" and not said.get("master_name"):
        raise _no_master_name(setting)
    same = followed is not None and followed.urls == urls
    hosts = _hosts(urls, kind, theirs if same else {}, options)
    sentinel = {name: said.pop(name) for name in OF_SENTINEL if said.get(name) is not None}
    most = said.pop("max_connections", None)
    parameters = as_redis_takes_it(said, kind, setting)
    return Link(kind=kind, hosts=hosts, parameters=parameters, most=most, **sentinel)


def _hosts(
    urls: str, kind: Kind, theirs: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Host, ...]:
    parts = parts_of(urls)
    match kind:
        case "socket":
            return ()
        case "list":
            said = {name: value for name, value in options.items() if name in LOGIN}
            logins = ({**login_of(one), **said} for one in parts)
            hosts = map(host_of, parts)
            return tuple(
                replace(one, login=login) for one, login in zip(hosts, logins, strict=True)
            )
        case "server" if theirs.get("host"):
            return (Host(theirs["host"], int(theirs["port"])),)  # redis_host, redis_port
        case _:
            return tuple(map(host_of, parts))


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
    return {**parameters, **{name: options[name] for name in OF_SENTINEL if name in options}}


def _look_at_tls(parameters: Mapping[str, Any], urls: str) -> None:
    kind = parameters.get("connection_class", Connection)
    if urls.startswith("rediss:") and not issubclass(kind, SSLConnection):
        # kombu passes over a True: Celery itself would speak plain to it, and wait.
        what = 'for a Redis it has to be a dict, such as {"ssl_cert_reqs": ssl.CERT_REQUIRED}'
        raise ConfigurationError("broker_use_ssl", None, what)
