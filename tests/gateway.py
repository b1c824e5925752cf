"""A gateway as firms put before a provider: it demands what it is told to, and passes on the rest.

with Gateway(emulator.port, demands=lambda headers: headers["x-key"] == "secret") as gateway:
OpenAI(base_url=gateway.url)

It is a forward proxy as well, for whoever sends it whole URLs.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

Demand = Callable[[Message], bool]

_OF_ONE_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding"})


class Gateway:
    """``seen`` are the requests it let through, ``refused`` those that it did not."""

    def __init__(
        self, target: int, *, demands: Demand = lambda _: True, tls: ssl.SSLContext | None = None
    ) -> None:
        self.target = target
        self.demands = demands
        self.seen: list[str] = []
        self.refused: list[str] = []
        self._tls = tls
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.gateway = self
        self._server.tls = tls
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="gateway", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def root(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    gateway: Gateway
    tls: ssl.SSLContext | None

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the connection's own thread: a handshake that fails is no trouble of the others'.
        if self.tls is not None:
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except (ssl.SSLError, OSError):
                self.gateway.refused.append("the handshake")
                return
        super().finish_request(request, client_address)
        if self.tls is not None:
            request.close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        self._pass_on()

    def do_GET(self) -> None:
        self._pass_on()

    def do_DELETE(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        gateway = self.server.gateway
        content = self._content()
        path = urlsplit(self.path)
        asked = f"{self.command} {path.path}"
        if not gateway.demands(self.headers):
            gateway.refused.append(asked)
            self._answer(401, b'{"error": {"message": "the gateway wants its key"}}', {})
            return
        gateway.seen.append(asked)
        there = http.client.HTTPConnection("127.0.0.1", gateway.target)
        where = path._replace(scheme="", netloc="").geturl()
        headers = {n: v for n, v in self.headers.items() if n.lower() not in _OF_ONE_HOP}
        there.request(self.command, where, content, headers)
        answer = there.getresponse()
        self._answer(answer.status, answer.read(), dict(answer.getheaders()))
        there.close()

    def _content(self) -> bytes:
        length = self.headers.get("content-length")
        if length is not None:
            return self.rfile.read(int(length))
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return b""
        parts: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", *_OF_ONE_HOP}:
                self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Who asked what is in `seen`."""
