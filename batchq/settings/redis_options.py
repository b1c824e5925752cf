"""Parameters of a connection to Redis: which there are, and whether redis-py takes them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from redis.connection import Connection, SSLConnection
from redis.exceptions import RedisError

from batchq.common.record import nearest
from batchq.errors import ConfigurationError
from batchq.settings.links import Kind

__all__ = ["OF_SENTINEL", "OPTIONS", "as_redis_takes_it", "check_options", "read_redis_options"]

OF_SENTINEL = {"master_name", "min_other_sentinels", "sentinel_kwargs"}


def _names() -> frozenset[str]:
    known = {
        name
        for kind in SSLConnection.__mro__
        for name in inspect.signature(kind).parameters
        if name.startswith(("ssl_", "socket_"))
    }
    few = {"username", "password", "credential_provider", "client_name", "health_check_interval"}
    return frozenset(known | few | OF_SENTINEL | {"max_connections"})


OPTIONS = _names()
"""What `batchq_redis_options` may hold: what concerns the connection, and not the replies."""


def check_options(given: Mapping[str, Any]) -> None:
    """Raises ConfigurationError at a name that is none; values are not shown."""
    for name in given:
        if name not in OPTIONS:
            what = "a connection to Redis has no option of that name"
            setting = f"batchq_redis_options[{name!r}]"
            raise ConfigurationError(setting, None, what, nearest(name, OPTIONS))


_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_NOT_OURS = (
    *("host", "port", "hosts", "virtual_host"),
    # What was cut is tried again anyway, and replies are read as bytes.
    *("retry", "retry_on_timeout", "retry_on_error", "decode_responses"),
)


def as_redis_takes_it(said: Mapping[str, Any], kind: Kind, setting: str) -> dict[str, Any]:
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


def read_redis_options(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError('accepted is a dict, such as {"master_name": "mymaster"}')  # noqa: TRY004
    options = cast("dict[str, Any]", given)
    check_options(options)
    return dict(options)
