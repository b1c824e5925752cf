"""What Batchq puts in the place of what others have, or adds: by the first decorator of a process,
once.

Two more are put elsewhere: a worker asks `revoke.listen` as it starts, and Flower's pages are added
by `flower.seams`. What Batchq hears of Celery stands in installation.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from batchq.bulk import add_method
from batchq.capture.connections import install_own_connections
from batchq.capture.http import install_hook
from batchq.capture.hush import hush_captures
from batchq.capture.parked import describe_parked_shortly
from batchq.capture.threads import carry_runs
from batchq.celery_side.sdk_errors import keep_sdk_errors

__all__ = ["PATCHES", "put_patches"]

PATCHES: Mapping[Callable[[], None], tuple[str, ...]] = {
    install_hook: (
        *("httpx.Client.send", "httpx.AsyncClient.send"),
        *("httpx.HTTPTransport.handle_request", "httpx.AsyncHTTPTransport.handle_async_request"),
        *("httpx2.Client.send", "httpx2.AsyncClient.send"),
        *("httpx2.HTTPTransport.handle_request", "httpx2.AsyncHTTPTransport.handle_async_request"),
        "aiohttp.ClientSession._request",
        *("websockets.sync.client.connect", "websockets.asyncio.client.connect.__init__"),
    ),
    carry_runs: (
        *("threading.Thread.start", "concurrent.futures.ThreadPoolExecutor.submit"),
        *("multiprocessing.pool.ThreadPool.apply_async", "multiprocessing.pool.ThreadPool.map"),
        "multiprocessing.pool.ThreadPool.map_async",
        *("multiprocessing.pool.ThreadPool.starmap", "multiprocessing.pool.ThreadPool.imap"),
        "multiprocessing.pool.ThreadPool.starmap_async",
        "multiprocessing.pool.ThreadPool.imap_unordered",
    ),
    install_own_connections: (
        *("httpx.AsyncHTTPTransport.handle_async_request", "httpx.AsyncHTTPTransport.aclose"),
        *("httpx2.AsyncHTTPTransport.handle_async_request", "httpx2.AsyncHTTPTransport.aclose"),
    ),
    keep_sdk_errors: ("celery.backends.base.Backend.prepare_exception",),
    hush_captures: ("threading.excepthook",),
    describe_parked_shortly: (
        *("celery.app.trace.TraceInfo.__init__", "celery.app.trace.TraceInfo.handle_ignore"),
    ),
    add_method: ("celery.app.task.Task.enqueue",),
}
"""Who puts them, and what they are put on, where that is installed."""


def put_patches() -> None:
    """Put all of them that are not there yet."""
    for put in PATCHES:
        put()
