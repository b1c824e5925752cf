"""A small server for webhooks, for who has no web application to mount `batchq.webhook` in.

It is waitress, which reads a request whole before it gives a thread to it. It stands behind what
ends TLS, a proxy or a load balancer.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import closing
from types import FrameType
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from batchq.errors import ConfigurationError
from batchq.settings.config import settings
from batchq.webhook.mount import say, wsgi
from batchq.webhook.receive import LARGEST, readable_secrets

__all__ = ["PATH", "serve"]

logger = logging.getLogger("batchq.webhook")

PATH = "/webhook"

_LIMITS: dict[str, Any] = {
    # A hundred clients at a time, and two files of its own; other clients wait until one has gone.
    "connection_limit": 102,
    # Seconds for which a client may say nothing, and how often that is looked at.
    "channel_timeout": 10,
    "cleanup_interval": 1,
    "max_request_header_size": 32_768,
    # What has so many bytes is refused before it is read.
    "max_request_body_size": LARGEST + 1,
}
_WAITRESS: dict[str, Any] = {
    # Nothing of what it runs on.
    "ident": "batchq",
    # `select` ends with the thousandth file.
    "asyncore_use_poll": True,
    # A client that hangs up is none of our errors.
    "log_socket_errors": False,
}


def serve(
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8787,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Take webhooks at ``POST /webhook``, and say ``ok`` at ``GET /healthz``, until SIGTERM or
    SIGINT. ``ready`` is called with the address once it listens; port 0 is any free one.

    Raises ConfigurationError where no account has a secret, for nothing could be verified; where
    nobody can listen there; and where waitress is missing, which ``batchq[webhook]`` installs.
    """
    if not readable_secrets(settings(app).accounts):
        raise ConfigurationError(
            "webhook_secret",
            None,
            "no account has one that can be read; set OPENAI_WEBHOOK_SECRET, or say in "
            "batchq_accounts where it is",
        )
    with closing(_listen(host, port)) as listening:
        server = _server(app, listening)
        url = f"http://{_shown(host)}:{listening.getsockname()[1]}{PATH}"
        logger.info("webhooks are taken at %s", url, extra={"action": "webhook"})
        before = {number: signal.signal(number, _end) for number in _ENDS}
        if ready is not None:
            ready(url)
        try:
            # Whoever has sent all of a request by the end gets an answer.
            server.run()
        finally:
            server.close()
            for number, handler in before.items():
                signal.signal(number, handler)


_ENDS = (signal.SIGTERM, signal.SIGINT)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit  # Which waitress takes for the word to end.


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        given = f"{host}:{port}"
        raise ConfigurationError("webhook", given, f"cannot listen there: {error}") from None


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _server(app: Any, listening: socket.socket) -> Any:
    try:
        from waitress.server import create_server
    except ImportError:
        missing = "the server needs waitress: pip install 'batchq[webhook]'"
        raise ConfigurationError("webhook", None, missing) from None
    return create_server(_site(app), sockets=[listening], **_LIMITS, **_WAITRESS)


def _site(app: Any) -> WSGIApplication:
    webhook = wsgi(app)

    def site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            return webhook(environ, start_response)
        if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("GET", "/healthz"):
            return say(start_response, 200, "ok")
        return say(start_response, 404, "nothing here")

    return site
