"""Routes, and the server's life from its first to its last request."""

import asyncio
import logging
import os
import signal
import sys
from socket import socket

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.routing import URLSpec
from tornado.web import Application, HTTPError

from batchq.emulator.handlers import base, batches, control, files, live, one_batch, one_file
from batchq.emulator.options import Options
from batchq.emulator.service import Service

LARGEST_REQUEST = 1 << 30
CHUNK = 1 << 18
ENDPOINTS = "chat/completions|responses|embeddings|completions|moderations|images/generations"


def application(service: Service) -> Application:
    given = {"service": service}
    prefix = r"(?:/openai)?/v1"
    azure = r"/openai"
    api: list[tuple[str, type[base.Handler]]] = [
        (r"/files", files.Files),
        (r"/files/([^/]+)", one_file.OneFile),
        (r"/files/([^/]+)/content", one_file.Content),
        (r"/batches", batches.Batches),
        (r"/batches/([^/]+)", one_batch.OneBatch),
        (r"/batches/([^/]+)/cancel", one_batch.CancelBatch),
        (r"/models", live.Models),
        (r"/models/([^/]+)", live.Models),
        (rf"/({ENDPOINTS})", live.Live),
    ]
    own: list[tuple[str, type[base.Handler]]] = [
        (rf"{azure}/deployments/([^/]+)/({ENDPOINTS})", live.Live),
        (r"/emulator/health", control.Health),
        (r"/emulator/ledger", control.LedgerView),
        (r"/emulator/faults", control.FaultList),
        (r"/emulator/faults/([^/]+)", control.OneFault),
        (r"/emulator/clock", control.ClockControl),
        (r"/emulator/webhook", control.WebhookControl),
        (r"/emulator/reset", control.Reset),
    ]
    routes = [
        URLSpec(start + path, handler, given) for path, handler in api for start in (prefix, azure)
    ] + [URLSpec(path, handler, given) for path, handler in own]
    return Application(
        list(routes),
        default_handler_class=NotFound,
        default_handler_args=given,
    )


class NotFound(base.Handler):
    async def prepare(self) -> None:
        self.send_error(404, exc_info=(None, HTTPError(404), None))


async def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT; says on standard output where, once it answers."""
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    service = Service(options)
    try:
        sockets = _bound(options)
        server = HTTPServer(application(service), max_body_size=LARGEST_REQUEST, chunk_size=CHUNK)
        server.add_sockets(sockets)
        service.start()
        stop = _stop_event(until_stdin_closes=options.until_stdin_closes)
        port = sockets[0].getsockname()[1]
        print(f"emulator ready on http://{options.host}:{port}/v1", flush=True)
        await stop.wait()
        server.stop()
    finally:
        await service.stop()


def _bound(options: Options) -> list[socket]:
    try:
        return bind_sockets(options.port, options.host)
    except OSError as error:
        raise SystemExit(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}. "
            "--port 0 takes any free port."
        ) from None


def _stop_event(*, until_stdin_closes: bool) -> asyncio.Event:
    """Set when it is time to go."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:

        def read() -> None:
            if not os.read(sys.stdin.fileno(), 1024):
                loop.remove_reader(sys.stdin)
                stop.set()

        loop.add_reader(sys.stdin, read)
    return stop
