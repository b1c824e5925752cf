"""The small server for webhooks: what it takes, and whom it gets rid of."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from batchq.errors import ConfigurationError
from batchq.webhook import LARGEST
from batchq.webhook import server as webhook_server
from batchq.webhook.server import PATH, serve
from tests.apps import webhook
from tests.harness import Server, Stack, wait_until
from tests.webhooks import OTHER_SECRET, SECRET, event, port_of, serving, signed

APP = "tests.apps.webhook"


class Client:
    """What talks to a server of webhooks at one address."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body or None, dict(headers or {}))
            answer = connection.getresponse()
            assert answer.headers["server"] == "batchq"
            return answer.status, answer.read().decode()

    def tell(self, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        return self.ask("POST", PATH, body, signed(body) if headers is None else headers)

    def raw(self, text: bytes) -> bytes:
        """What comes back for these bytes, to the end of the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(text)
            received = b""
            while part := connection.recv(65536):
                received += part
            return received


# A server of its own


@pytest.fixture(scope="module")
def running(shared_stack: Stack) -> Iterator[Client]:
    with serving(shared_stack, APP) as server:
        yield Client(port_of(server))


def test_it_takes_webhooks(running: Client) -> None:
    body = event("batch_of_others")
    assert running.tell(body) == (200, "unknown")
    assert running.tell(body, signed(body, secret=OTHER_SECRET)) == (401, "refused")
    assert running.tell(body, {}) == (401, "refused")
    assert running.tell(b"rubbish") == (400, "unreadable")
    assert running.ask("POST", f"{PATH}?a=b", body, signed(body)) == (200, "unknown")


def test_it_says_that_it_is_there(running: Client) -> None:
    assert running.ask("GET", "/healthz") == (200, "ok")


def test_there_is_nothing_else(running: Client) -> None:
    body = event("batch_of_others")
    for method, path in (("GET", PATH), ("GET", "/"), ("POST", "/"), ("POST", "/webhook/more")):
        assert running.ask(method, path, body, signed(body))[0] == 404
    assert running.ask("PUT", PATH, body)[0] == 501


def test_what_is_too_large_is_not_read_to_its_end(running: Client) -> None:
    body = event("batch_of_others", padding="x" * LARGEST)
    assert running.tell(body) == (413, "oversize")
    head = f"POST {PATH} HTTP/1.1\r\nContent-Length: {'9' * 6000}\r\n\r\n".encode()
    assert running.raw(head + b"x" * LARGEST).startswith(b"HTTP/1.0 413 ")


@pytest.mark.parametrize(
    "header", ["X: y", "Content-Length: -1", "Content-Length: ²", "Transfer-Encoding: chunked"]
)
def test_who_does_not_say_how_long_it_is_is_refused(running: Client, header: str) -> None:
    text = f"POST {PATH} HTTP/1.1\r\n{header}\r\n\r\n".encode("latin-1")
    assert running.raw(text).startswith(b"HTTP/1.0 411 ")


@pytest.mark.parametrize("text", [b"\x16\x03\x01\x02\r\n", b"GET\r\n", b"\r\n\r\n", b"A" * 70_000])
def test_what_is_not_http_ends_nothing(running: Client, text: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        running.raw(text + b"\r\n\r\n")
    assert running.ask("GET", "/healthz") == (200, "ok")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_on_a_signal_also_with_somebody_on_the_line(
    stack: Stack, number: signal.Signals
) -> None:
    with serving(stack, APP) as server:
        port = port_of(server)
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(b"POST /webhook HTTP/1.1\r\n")
            server.send(number)
            assert server.wait(timeout=15) == 0
    assert "Traceback" not in server.output()


def test_without_a_secret_it_does_not_start(stack: Stack) -> None:
    with serving(stack, APP, {}) as server:
        assert server.wait() == 1
    assert "webhook_secret: no account has one that can be read" in server.output()
    assert "OPENAI_WEBHOOK_SECRET" in server.output()


def test_a_port_that_is_taken_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: cannot listen there"):
            serve(webhook.app, port=port)


# Clients that are slow, or many


@pytest.fixture
def hasty(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Client]]:
    """Servers in this process, with little patience and room for two."""
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET)
    monkeypatch.setattr(webhook_server, "_PATIENCE", 0.5)
    monkeypatch.setattr(webhook_server, "_LAST_WORDS", 0.1)
    monkeypatch.setattr(webhook_server, "_MOST", 2)
    with contextlib.ExitStack() as stack:

        def start() -> Client:
            listening = stack.enter_context(webhook_server._listen(webhook.app, "127.0.0.1", 0))
            thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(listening.shutdown)
            return Client(listening.server_address[1])

        yield start


def test_a_client_that_drips_is_cut_off(hasty: Callable[[], Client]) -> None:
    """Each byte of it comes in time; all of them together do not."""
    with socket.create_connection(("127.0.0.1", hasty().port)) as drips:
        wait_until(lambda: is_cut_off(drips), description="it is cut off", timeout=5)


def is_cut_off(drips: socket.socket) -> bool:
    try:
        drips.sendall(b"P")
    except ConnectionError:
        return True
    return False


def test_a_client_that_says_nothing_is_cut_off(hasty: Callable[[], Client]) -> None:
    with socket.create_connection(("127.0.0.1", hasty().port), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_one_client_too_many_is_turned_away(hasty: Callable[[], Client]) -> None:
    client = hasty()
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection(("127.0.0.1", client.port)))
        with pytest.raises((ConnectionError, http.client.BadStatusLine)):
            client.ask("GET", "/healthz")
    wait_until(lambda: healthy(client), description="there is room again")


def healthy(client: Client) -> bool:
    with contextlib.suppress(ConnectionError, http.client.BadStatusLine):
        return client.ask("GET", "/healthz") == (200, "ok")
    return False
