"""The ways to Redis: TLS, a unix socket, a user with no more rights than docs/security.md gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from batchq.overview import status
from tests.apps import linked
from tests.certificates import Certificates, make_certificates
from tests.harness import ROOT, Emulator, ReservedPort, Server, Stack, keys_without_end
from tests.journals import DOCUMENTED
from tests.proxy import Proxy

pytestmark = pytest.mark.long

APP = "tests.apps.linked"
PASSWORD = "opens-this-server-only"


def journey(stack: Stack, url: str) -> None:
    """Broker, results and journal all take this URL, in every process."""
    environment = {"REDIS_URL": url}
    if linked.JOURNAL is not None:
        environment["JOURNAL_URL"] = linked.JOURNAL
    worker = stack.worker(APP, environment=environment)
    beat = stack.beat(APP, environment=environment)
    app = linked.made(url)
    sent = app.tasks["ask"].delay("by another way")
    try:
        assert sent.get(timeout=30)
    finally:
        # When it is collected it would ask a server that is gone, and for long.
        vars(sent)["backend"] = None
    assert status(app).tasks_waiting == 0
    assert stack.emulator.ledger()["batches_created"] == 1
    for process in (worker, beat):
        assert PASSWORD not in process.output()
        assert "Traceback" not in process.output()
    assert keys_without_end(stack.redis, documented=DOCUMENTED) == []
    app.close()


# TLS


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path)


@pytest.fixture
def tls(server: Server, certificates: Certificates) -> Iterator[Proxy]:
    """TLS in front of the server: the binary that tests run has none of its own."""
    with Proxy(server.port.number, tls=certificates.of_server(asks_clients=False)) as front:
        yield front


def test_a_journey_over_tls(stack: Stack, tls: Proxy, certificates: Certificates) -> None:
    journey(
        stack,
        f"rediss://127.0.0.1:{tls.port}/0?ssl_cert_reqs=required&ssl_ca_certs={certificates.ca}",
    )


def test_a_certificate_that_nobody_vouches_for_is_refused(tls: Proxy) -> None:
    """With the system's own authorities, as it is where nothing is said."""
    url = f"rediss://127.0.0.1:{tls.port}/0?ssl_cert_reqs=required"
    app = linked.made(url)
    with pytest.raises(redis.ConnectionError, match=r"(?i)certificate"):
        status(app)


# A unix socket


@pytest.fixture
def socket_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    path = tmp_path / "r.sock"
    server = Server(
        ReservedPort(), tmp_path, *("--unixsocket", str(path)), *("--unixsocketperm", "700")
    )
    yield server
    server.client.close()
    server.stop()


@pytest.mark.parametrize("journal", ["unix", "redis+socket"])
def test_a_journey_over_a_unix_socket(
    socket_server: Server, emulator: Emulator, tmp_path: Path, journal: str
) -> None:
    """Celery knows redis+socket://, redis-py unix://; batchq_redis_url takes both."""
    stack = Stack(socket_server, emulator, tmp_path)
    path = tmp_path / "r.sock"
    linked.JOURNAL = f"{journal}://{path}"
    try:
        journey(stack, f"redis+socket://{path}")
    finally:
        linked.JOURNAL = None
        stack.stop()


# A user with few rights


def documented_acl() -> str:
    """The line of docs/security.md, as it is."""
    text = (ROOT / "docs/security.md").read_text()
    found = re.search(r"^```\n(user batchq .*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1].replace("\\\n", " ").strip()


@pytest.fixture
def user(server: Server) -> Iterator[str]:
    words = documented_acl().replace(">PASSWORD", f">{PASSWORD}").split()[1:]
    acl: Any = server.client
    acl.execute_command("ACL", "SETUSER", *words)
    acl.acl_log_reset()
    yield f"redis://batchq:{PASSWORD}@127.0.0.1:{server.port.number}/0"
    acl.acl_deluser("batchq")


def test_a_journey_of_a_user_with_the_documented_rights(stack: Stack, user: str) -> None:
    journey(stack, user)
    refused = {str(entry["object"]) for entry in stack.redis.acl_log()}
    # The look at Redis's settings says by itself that it was not allowed to look.
    assert refused <= {"config|get"}, "no right was missed on the way"


@pytest.mark.parametrize(
    "command",
    ["FLUSHALL", "CONFIG SET maxmemory 1", "KEYS *", "SET other 1", "SHUTDOWN"],
)
def test_what_that_user_may_not_do(stack: Stack, user: str, command: str) -> None:
    with (
        redis.Redis.from_url(user) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*command.split())
