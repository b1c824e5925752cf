"""A small server for webhooks, for who has no web application to mount `batchq.webhook` in.

It stands behind what ends TLS (a proxy, a load balancer), and defends itself against clients that
are slow, many or talkative: each gets ten seconds in all, one request and a thread of its own.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import FrameType
from typing import Any, cast

from batchq.errors import ConfigurationError
from batchq.settings.config import settings
from batchq.webhook.receive import LARGEST, handle, readable_secrets

__all__ = ["PATH", "serve"]

logger = logging.getLogger("batchq.webhook")

PATH = "/webhook"
_PATIENCE = 10.0
"""Seconds from the first byte of a client to its answer."""

_DIGITS = 9
_LAST_WORDS = 2.0

_MOST = 64
"""Clients at a time. The provider tries again, and a thread costs memory."""


def serve(
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8787,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Take webhooks at ``POST /webhook``, and say ``ok`` at ``GET /healthz``, until SIGTERM or
    SIGINT. ``ready`` is called with the address once it listens; port 0 is any free one.

    Raises ConfigurationError where no account has a secret: nothing could be verified.
    """
    if not readable_secrets(settings(app).accounts):
        raise ConfigurationError(
            "webhook_secret",
            None,
            "no account has one that can be read; set OPENAI_WEBHOOK_SECRET, or say in "
            "batchq_accounts where it is",
        )
    with _listen(app, host, port) as server:
        url = f"http://{_shown(host)}:{server.server_address[1]}{PATH}"
        logger.info("webhooks are taken at %s", url, extra={"action": "webhook"})
        before = {number: signal.signal(number, server.end) for number in _ENDS}
        if ready is not None:
            ready(url)
        try:
            server.serve_forever()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


_ENDS = (signal.SIGTERM, signal.SIGINT)


def _listen(app: Any, host: str, port: int) -> _Server:
    try:
        return _Server(app, host, port)
    except OSError as error:
        given = f"{host}:{port}"
        raise ConfigurationError("webhook", given, f"cannot listen there: {error}") from None


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _Server(ThreadingHTTPServer):
    """Closes the connections of clients that take too long, and turns away those too many."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, app: Any, host: str, port: int) -> None:
        self.app = app
        self._since: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.address_family = family
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks up the host's name, which may take a while.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "batchq", self.server_address[1]

    def end(self, _number: int, _frame: FrameType | None) -> None:
        # In a thread: `shutdown` waits for the loop that this signal has interrupted.
        threading.Thread(target=self.shutdown, daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            busy = len(self._since) >= _MOST
            if not busy:
                self._since[request] = time.monotonic()
        if busy:
            logger.warning(
                "a client is turned away: %d are here", _MOST, extra={"action": "webhook"}
            )
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called twice a second by the loop."""
        late = time.monotonic() - _PATIENCE
        with self._lock:
            for request, since in self._since.items():
                if since < late:
                    _cut(request)

    def server_close(self) -> None:
        """Let who is here have an answer, which takes less than a second; then close."""
        ends = time.monotonic() + _LAST_WORDS
        while self._since and time.monotonic() < ends:
            time.sleep(0.01)
        with self._lock:
            for request in self._since:
                _cut(request)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 not ours
        # No traceback: it may show what was sent.
        kind = type(sys.exc_info()[1]).__name__
        logger.warning("a client is lost (%s)", kind, extra={"action": "webhook"})


def _cut(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # It has gone by itself.


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE

    def version_string(self) -> str:
        return "batchq"  # Nothing of what it runs on.

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._say(200, "ok")
        else:
            self._say(404, "nothing here")

    def do_POST(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._say(404, "nothing here")
            return
        length = self.headers.get("content-length", "")
        if not length.isascii() or not length.isdigit():
            self._say(411, "how long is it?")
        elif len(length) > _DIGITS or int(length) > LARGEST:
            # A part of it is taken: who is cut off while it sends sees no answer.
            self.rfile.read(LARGEST)
            self._say(413, "oversize")
        else:
            self._take(int(length))

    def _take(self, length: int) -> None:
        body = self.rfile.read(length)
        if len(body) < length:
            return  # It has hung up, or was too slow.
        try:
            answer = handle(body, dict(self.headers.items()), app=cast("_Server", self.server).app)
        except ConfigurationError as error:
            logger.error("%s", error, extra={"action": "webhook"})  # noqa: TRY400 the words say it all
            self._say(500, "misconfigured")
            return
        self._say(answer.status, answer.word)

    def _say(self, status: int, word: str) -> None:
        self.send_response(status)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(word)))
        self.end_headers()
        self.wfile.write(word.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 its name there
        """Say nothing: the request line is whatever a stranger has sent."""

    def log_request(self, code: Any = "-", size: Any = "-") -> None:  # noqa: ARG002 not ours
        logger.debug(
            "%s is answered with %s",
            *(self.client_address[0], int(code)),
            extra={"action": "webhook"},
        )
