"""The hook: inside a batched body, a call of a model is asked through the journal, not a socket.

It sits where HTTP clients send, because a batch line is exactly an HTTP exchange: whatever asks an
account's API is caught with no code of its own. It does nothing outside a batched body.

    call -> calls.sight -> questions -> Run.ask -> its outcome, as replays make it a response
                                                -> or it is written into the run, and the body ends
"""

from __future__ import annotations

from batchq.capture.http.over_aiohttp import hook_aiohttp
from batchq.capture.http.over_httpx import hook_httpx
from batchq.capture.http.over_websockets import hook_websockets

__all__ = ["install_hook"]


def install_hook() -> None:
    """Put the hook on every HTTP client that is installed and that it knows, once."""
    hook_httpx()
    hook_aiohttp()
    hook_websockets()
