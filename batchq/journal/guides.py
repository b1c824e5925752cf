"""Which server keeps the journal just now, where it may be another tomorrow: Sentinel, a Cluster,
a list of servers, one after the other. Whoever knows is asked at each new connection.

All keys of a journal are in one slot, so to us a Cluster is one server that may move, as it is
behind sentinels: scripts, pipelines and transactions are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, TryAgainError
from redis.retry import Retry

from batchq.errors import ConfigurationError

if TYPE_CHECKING:
    from batchq.settings.links import Host, Link

__all__ = ["guided"]

Ask = Callable[["Host"], "Host | None"]
"""Where one of those who may know says that the journal is. None, or a RedisError: look further."""

Clients = Callable[["Host"], Any]


@dataclass(eq=False, slots=True)
class Guide:
    """Asks one after the other, and first the one who knew it last time."""

    what: str
    hosts: Sequence[Host]
    ask: Ask

    def address(self) -> Host:
        """Raises redis.ConnectionError, with what each has said."""
        said: list[str] = []
        for host in self.hosts:
            try:
                found = self.ask(host)
            except redis.RedisError as error:
                said.append(f"{host.at}: {error}")
                continue
            if found is not None:
                # One assignment, for several threads may be here.
                self.hosts = [host, *(one for one in self.hosts if one != host)]
                return found
            said.append(f"{host.at} does not know it")
        raise redis.ConnectionError(f"{self.what} ({'; '.join(said)})")

    def moved(self) -> None:
        """A connection was told that the journal is elsewhere. It asks again anyway."""


# Sentinel


def _at_sentinels(link: Link, patience: Mapping[str, Any]) -> Guide:
    parameters = {**patience, **link.sentinel_kwargs}
    ask = partial(_ask_sentinel, link, parameters)
    return Guide(f"no sentinel knows a primary named {link.master_name!r}", link.hosts, ask)


def _ask_sentinel(link: Link, parameters: Mapping[str, Any], host: Host) -> Host | None:
    with redis.Redis(host=host.host, port=host.port, **parameters) as sentinel:
        known = cast("dict[str, dict[str, Any]]", sentinel.sentinel_masters())
    state = known.get(link.master_name)
    if state is None:
        names = ", ".join(sorted(known)) or "none"
        raise redis.ConnectionError(f"it knows {names}: see master_name")
    usable = state["is_master"] and not state["is_sdown"] and not state["is_odown"]
    if not usable or state["num-other-sentinels"] < link.min_other_sentinels:
        return None
    return host.at_address(state["ip"], state["port"])


# A list of servers


def _in_list(link: Link, clients: Clients) -> Guide:
    ask = partial(_ask_whether_primary, clients)
    return Guide("no server of the list answers as a primary", link.hosts, ask)


def _ask_whether_primary(clients: Clients, host: Host) -> Host | None:
    with clients(host) as client:
        try:
            role = client.info("replication").get("role", "master")
        except redis.ResponseError:
            return host  # It does not let us ask; it answers.
    return host if role == "master" else None


# A cluster


def _in_cluster(hosts: Sequence[Host], clients: Clients, slot: int) -> Guide:
    guide = Guide(f"no node of the cluster knows who serves slot {slot}", hosts, lambda _: None)
    guide.ask = partial(_ask_node, guide, clients, slot)
    return guide


def _ask_node(guide: Guide, clients: Clients, slot: int, host: Host) -> Host | None:
    with clients(host) as client:
        try:
            ranges: list[list[Any]] = client.execute_command("CLUSTER", "SLOTS")
        except redis.ResponseError as error:
            if "cluster support disabled" not in str(error):
                raise
            raise ConfigurationError(
                "batchq_redis_url",
                None,
                f"the server {host.at} is not part of a Redis Cluster: write redis:// instead of "
                "redis+cluster://",
            ) from None
    nodes = {node for _, _, *some in ranges for node in (_node(host, one) for one in some)}
    guide.hosts = [*guide.hosts, *(nodes - set(guide.hosts))]
    primaries = [_node(host, some[0]) for first, last, *some in ranges if first <= slot <= last]
    return primaries[0] if primaries else None


def _node(asked: Host, told: Sequence[Any]) -> Host:
    name = told[0].decode() if isinstance(told[0], bytes) else told[0]
    # A node that does not know its own address leaves it to us how we got there.
    return asked.at_address(asked.host if name in {None, "", "?"} else name, told[1])


# One server, or a node of a cluster: it says which


class _One:
    """The server of a plain URL. It is asked once whether it is part of a cluster."""

    def __init__(self, link: Link, clients: Clients, slot: int) -> None:
        self._host = link.hosts[0]
        self._clients = clients
        self._database = link.parameters.get("db") or 0
        self._cluster = _in_cluster(link.hosts, clients, slot)
        self._is_cluster: bool | None = None

    def address(self) -> Host:
        if self._is_cluster is None:
            self._is_cluster = self._look()
        return self._cluster.address() if self._is_cluster else self._host

    def _look(self) -> bool:
        with self._clients(self._host) as client:
            try:
                is_cluster = bool(client.info("cluster").get("cluster_enabled"))
            except redis.ResponseError:
                return False  # It does not let us ask; a cluster says MOVED.
        if is_cluster and self._database:
            raise ConfigurationError(
                "batchq_redis_url",
                None,
                f"{self._host.at} is part of a Redis Cluster, where the journal is kept in "
                f"database 0: it cannot be in {self._database}",
            )
        return is_cluster

    def moved(self) -> None:
        self._is_cluster = True


# Connections that are guided


class _Guided:
    """Mixed into a class of connections of redis-py: it connects to where its guide says."""

    def __init__(self, *, guide: Guide | _One, **parameters: Any) -> None:
        self._guide = guide
        super().__init__(**parameters)

    def _connect(self) -> Any:
        host = self._guide.address()
        for name, value in {"host": host.host, "port": host.port, **host.login}.items():
            setattr(self, name, value)
        connection: Any = super()
        return connection._connect()  # noqa: SLF001 redis-py has no other place for it

    def read_response(self, *args: Any, **options: Any) -> Any:
        connection: Any = super()
        try:
            return connection.read_response(*args, **options)
        except (MovedError, ReadOnlyError, ClusterDownError, TryAgainError, AskError) as error:
            # It is, or soon will be, somewhere else: an error of the connection, which is repeated.
            if isinstance(error, MovedError):
                self._guide.moved()
            connection.disconnect()
            raise redis.ConnectionError(f"the journal is moving: {error}") from error


@cache
def _guided_class(kind: type[Any]) -> type[Any]:
    return type(f"Guided{kind.__name__}", (_Guided, kind), {})


def guided(link: Link, patience: Mapping[str, Any], tag: str) -> dict[str, Any]:
    """What a pool needs to know so that its connections find the journal whose keys have `tag`.

    `patience` are the timeouts with which those who know are asked.
    """
    parameters = dict(link.parameters)
    kind = cast("type[Any]", parameters.pop("connection_class", Connection))
    if link.kind == "socket":
        return {**parameters, "connection_class": kind}
    brief = _brief({**parameters, **patience}, len(link.hosts))

    def clients(host: Host) -> Any:
        own: dict[str, Any] = {
            **parameters,
            **brief,
            "db": 0,
            **host.login,
            "host": host.host,
            "port": host.port,
        }
        return redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, **own))

    slot = key_slot(tag.encode())
    guides: dict[str, Callable[[], Guide | _One]] = {
        "sentinel": lambda: _at_sentinels(link, brief),
        "list": lambda: _in_list(link, clients),
        "cluster": lambda: _in_cluster(link.hosts, clients, slot),
        "server": lambda: _One(link, clients, slot),
    }
    guided_kind = _guided_class(cast("Any", kind))
    return {**parameters, "connection_class": guided_kind, "guide": guides[link.kind]()}


_BRIEFLY = 2.0
"""Seconds that one of those who may know has for its answer: the next may know it too."""


def _brief(patience: Mapping[str, Any], hosts: int) -> dict[str, Any]:
    """For one of so many: who has no more patience than that can have asked all of them in it."""
    names = ("socket_timeout", "socket_connect_timeout")
    brief: dict[str, Any] = {
        name: min(patience.get(name, _BRIEFLY) / hosts, _BRIEFLY) for name in names
    }
    return {**brief, "retry": Retry(NoBackoff(), 0)}
