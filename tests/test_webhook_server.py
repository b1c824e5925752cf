"""The small server for webhooks: what it takes, and whom it gets rid of."""

from __future__ import annotations

import contextlib
import http.client
import io
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from batchq.errors import ConfigurationError
from batchq.webhook import LARGEST, wsgi
from batchq.webhook.server import PATH, serve
from tests.apps import webhook
from tests.apps.base import make_app
from tests.harness import Server, Stack
from tests.webhooks import OTHER_SECRET, SECRET, event, port_of, serving, signed

APP = "tests.apps.webhook"
CANARY = "canary-request-1d7e"


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
    for method, path in (
        ("GET", "/"),
        ("POST", "/"),
        ("POST", "/webhook/more"),
        ("POST", "/healthz"),
    ):
        assert running.ask(method, path, body, signed(body))[0] == 404
    for method in ("GET", "PUT"):
        assert running.ask(method, PATH, body, signed(body))[0] == 405


def test_what_is_too_large_is_not_read(running: Client) -> None:
    for size in (str(LARGEST + 1), "9" * 100):
        head = f"POST {PATH} HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode()
        assert running.raw(head).startswith(b"HTTP/1.1 413 ")
    chunk = f"{LARGEST + 1:x}\r\n".encode() + b"x" * (LARGEST + 1)
    head = f"POST {PATH} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert running.raw(head + chunk).startswith(b"HTTP/1.1 413 ")
    body = event("batch_of_others")
    body = event("batch_of_others", padding="x" * (LARGEST - len(body) - len(', "padding": ""')))
    assert len(body) == LARGEST
    assert running.tell(body) == (200, "unknown")


@pytest.mark.parametrize(
    ("header", "status"), [("X: y", 411), ("Content-Length: -1", 400), ("Content-Length: ²", 400)]
)
def test_who_does_not_say_how_long_it_is_is_refused(
    running: Client, header: str, status: int
) -> None:
    text = f"POST {PATH} HTTP/1.1\r\nConnection: close\r\n{header}\r\n\r\n".encode("latin-1")
    assert running.raw(text).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_body_may_come_in_chunks(running: Client) -> None:
    body = event("batch_of_others")
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
    head = f"POST {PATH} HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{headers}"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:], b""))
    answer = running.raw(f"{head}\r\n".encode() + chunks)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nunknown")


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


def test_without_waitress_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET)
    monkeypatch.setitem(sys.modules, "waitress", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'batchq\[webhook\]'"):
        serve(webhook.app, port=0)


def test_nothing_of_a_request_is_in_the_log(stack: Stack) -> None:
    with serving(stack, APP) as server:
        client = Client(port_of(server))
        canary = CANARY
        assert (
            client.ask("POST", f"/{canary}?{canary}", canary.encode(), {canary: canary})[0] == 404
        )
        assert client.tell(canary.encode())[0] == 400
        client.raw(f"{canary}\r\n{canary}\r\n\r\n".encode())
    assert canary not in server.output()


# Clients that are slow, or many


HASTY = {"channel_timeout": 1, "connection_limit": 4}
"""Waitress counts its own two files among the connections: room for two."""


@pytest.fixture(scope="module")
def hasty(shared_stack: Stack) -> Iterator[Client]:
    with serving(shared_stack, APP, limits=HASTY) as server:
        yield Client(port_of(server))


@pytest.mark.parametrize("text", [b"\x16\x03\x01\x02\r\n", b"GET\r\n", b"\r\n\r\n", b"A" * 70_000])
def test_what_is_not_http_ends_nothing(hasty: Client, text: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        hasty.raw(text + b"\r\n\r\n")
    assert hasty.ask("GET", "/healthz") == (200, "ok")


@pytest.mark.parametrize("said", [b"", b"POST /webhook HTTP/1.1\r\n"])
def test_a_client_that_says_no_more_is_cut_off(hasty: Client, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=10) as silent:
        silent.sendall(said)
        assert silent.recv(1) == b""


def test_one_client_too_many_waits_until_there_is_room(hasty: Client) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", hasty.port)))
        assert hasty.ask("GET", "/healthz") == (200, "ok"), "once those that say nothing are gone"


# In any other server


def mounted(method: str, body: bytes = b"", **environ: Any) -> tuple[str, bytes]:
    """What the application answers, held against the words of WSGI."""
    known: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "CONTENT_LENGTH": str(len(body)),
        "QUERY_STRING": "",
    }
    known |= {"wsgi.input": io.BytesIO(body)}
    known |= {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in signed(body).items()
        if name != "Content-Type"
    }
    known |= environ
    setup_testing_defaults(known)
    said: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], _info: Any = None) -> Any:
        said.append(status)

    answer = validator(wsgi(webhook.app))(known, start_response)
    with contextlib.closing(answer):  # type: ignore[type-var]
        return said[0], b"".join(answer)


def test_it_is_an_application_of_wsgi(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET)
    body = event("batch_of_others")
    assert mounted("POST", body) == ("200 OK", b"unknown")
    assert mounted("POST", body, HTTP_WEBHOOK_ID="other") == ("401 Unauthorized", b"refused")
    assert mounted("GET")[0] == "405 Method Not Allowed"
    assert mounted("POST", body, CONTENT_LENGTH="")[0] == "411 Length Required"
    large = event("batch_of_others", padding="x" * LARGEST)
    assert mounted("POST", large)[1] == b"oversize"


class Rude(io.BytesIO):
    """A client that is gone, in a server that says so with what was sent."""

    def read(self, _size: int | None = None) -> bytes:
        raise OSError(CANARY)


def test_what_a_server_raises_is_told_without_its_words(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET)
    answer = mounted("POST", b"x", **{"wsgi.input": Rude()})
    assert answer == ("500 Internal Server Error", b"failed")
    assert "so that it is sent again (OSError)" in caplog.text
    assert "in _answer" in caplog.text
    assert CANARY not in caplog.text


def test_wrong_settings_are_told_in_words(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app("wrong", batchq_poll_first="soon")
    answer = wsgi(app)
    said: list[str] = []
    known: dict[str, Any] = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "0"}
    known |= {f"HTTP_WEBHOOK_{name}": "x" for name in ("ID", "TIMESTAMP", "SIGNATURE")}
    setup_testing_defaults(known)
    body = answer(known, lambda status, *_: said.append(status))  # type: ignore[arg-type]
    assert (said, list(body)) == (["500 Internal Server Error"], [b"misconfigured"])
    assert "batchq_poll_first" in caplog.text
