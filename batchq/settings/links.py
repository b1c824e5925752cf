"""A way to the Redis of a journal, as frozen records: who is asked, and how one connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from redis.connection import Connection, SSLConnection

__all__ = ["Host", "Kind", "Link", "Source"]

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


_USER = ("username", "password", "credential_provider")


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

    def is_server_of(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a connection of redis-py with these parameters is one to the same single server,
        as the same user. False also where that cannot be told. Its database may be another.
        """
        if self.kind == "socket":
            same = self.parameters.get("path") == parameters.get("path")
        else:
            at = Host(str(parameters.get("host")), int(parameters.get("port") or 0)).at
            same = self.kind == "server" and [one.at for one in self.hosts] == [at]
        return same and all(
            (self.parameters.get(name) or None) == (parameters.get(name) or None) for name in _USER
        )

    @property
    def is_verified(self) -> bool:
        """False where it is TLS and nobody looks whether the server is who it says it is."""
        how = self.parameters.get("ssl_cert_reqs", "required")
        return not self.is_tls or "none" not in str(getattr(how, "name", how)).lower()

    @property
    def is_tls(self) -> bool:
        return issubclass(self.parameters.get("connection_class", Connection), SSLConnection)
