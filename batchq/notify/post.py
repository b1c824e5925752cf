"""How a message is posted: to a webhook as Slack's are, or by Apprise. No error shows a URL."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from batchq.errors import BatchqError, ConfigurationError

__all__ = ["NotTold", "Post", "poster"]

Post = Callable[[str, str], None]
"""Posts to a URL a text. Raises NotTold."""

_TIMEOUT = 5
"""Seconds. A process that takes steps waits for it."""


class NotTold(BatchqError):
    """A receiver did not take a message. One that has ``refused`` it would refuse it again."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.refused = refused


_URLS = "accepted is https://… of an incoming webhook, without a user in it, or a URL of Apprise's"


def poster(url: str, number: int) -> Post:
    """What posts to this URL. Raises ConfigurationError, which names it by its number."""
    where = f"batchq_notify, URL {number}"
    try:
        parts, webhook = urlsplit(url), url.lower().startswith(("http://", "https://"))
        whole = bool(parts.scheme and url.isprintable() and " " not in url and parts.port != 0)
        if webhook and whole and parts.hostname and parts.username is None:
            return _post_to_webhook
    except ValueError:
        webhook, whole = True, False
    if webhook or not whole:
        raise ConfigurationError(where, None, _URLS)
    if _apprise(url) is None:
        raise ConfigurationError(where, None, f"Apprise does not take it; {_URLS}")
    return _post_by_apprise


# Webhooks as Slack has them


def _post_to_webhook(url: str, text: str) -> None:
    from urllib import error, request

    class Straight(request.HTTPRedirectHandler):
        # No redirect is followed: what is posted goes nowhere else.
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    body = json.dumps({"text": _escaped(text)}).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "batchq"}
    post = request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 of http and https only
    try:
        request.build_opener(Straight).open(post, timeout=_TIMEOUT).close()
    except error.HTTPError as failure:
        failure.close()
        refused = failure.code < 500 and failure.code not in {408, 425, 429}
        raise NotTold(f"HTTP {failure.code}", refused=refused) from None
    except error.URLError as failure:
        raise NotTold(type(failure.reason).__name__) from None
    except Exception as failure:  # noqa: BLE001 a time limit, or no HTTP at all
        raise NotTold(type(failure).__name__) from None


def _escaped(text: str) -> str:
    """What Slack would take for a link, or for a call to everybody in the channel, as text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# Apprise


def _post_by_apprise(url: str, text: str) -> None:
    with _others_quiet():
        known = _apprise(url)
        try:
            told = known is not None and known.notify(body=text)
        except Exception as failure:  # noqa: BLE001 one of a hundred plugins
            raise NotTold(type(failure).__name__) from None
    if not told:
        raise NotTold("Apprise")


def _apprise(url: str) -> Any:
    """Apprise with this URL in it; None where it does not know it."""
    try:
        apprise: Any = importlib.import_module("apprise")
    except ImportError:
        raise ConfigurationError(
            "batchq_notify",
            None,
            "it needs Apprise for URLs other than http and https: pip install 'batchq[notify]'",
        ) from None
    with _others_quiet():
        made: Any = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
        try:
            return made if made.add(url) else None
        except Exception:  # noqa: BLE001 one of a hundred plugins, and its words may repeat the URL
            return None


_TALKATIVE = (
    *("apprise", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry"),
    *("requests_oauthlib.oauth1_session", "requests_oauthlib.oauth2_session", "markdown"),
)
"""Loggers of others that show URLs and what is sent there."""

_quiet: ContextVar[bool] = ContextVar("batchq_quiet", default=False)


@contextmanager
def _others_quiet() -> Generator[None]:
    """Within it, and in threads that get its context, they log nothing."""
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_is_not_ours)
    before = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(before)


def _is_not_ours(record: logging.LogRecord) -> bool:  # noqa: ARG001 what a filter is called with
    return not _quiet.get()
