"""Webhooks as a WSGI application, for whatever serves those."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from batchq.common.own_errors import frames_of
from batchq.errors import ConfigurationError
from batchq.webhook.receive import LARGEST, handle

__all__ = ["say", "wsgi"]

logger = logging.getLogger("batchq.webhook")


def wsgi(app: Any = None) -> WSGIApplication:
    """A WSGI application that takes webhooks by POST, at whatever path it is mounted.

    It answers with the status and the word of `handle`; with 405 any other method, with 411 a body
    that does not say how long it is. Where settings are wrong, or something is that nobody has
    thought of, it answers with 500, so that the provider sends the webhook again. It raises
    nothing, and logs nothing of what was sent.
    """

    def take(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            return say(start_response, 405, "POST it", ("Allow", "POST"))
        length = environ.get("CONTENT_LENGTH") or ""
        if not length.isdecimal():
            return say(start_response, 411, "how long is it?")
        return say(start_response, *_answer(environ, length, app))

    return take


def _answer(environ: WSGIEnvironment, length: str, app: Any) -> tuple[int, str]:
    try:
        # Nine digits are too much already, and a number of thousands is an error of its own.
        body = environ["wsgi.input"].read(min(int(length[:9]), LARGEST + 1))
        answer = handle(body, _headers(environ), app=app)
    except ConfigurationError as error:
        logger.error("%s", error, extra={"action": "webhook"})  # noqa: TRY400 the words say it all
        return 500, "misconfigured"
    except Exception as error:  # noqa: BLE001 what it says may repeat what was sent, so that no server may log it
        logger.error(  # noqa: TRY400 likewise
            "a webhook could not be handled, and is answered with 500, so that it is sent again "
            "(%s)\n%s",
            *(type(error).__name__, frames_of(error)),
            extra={"action": "webhook"},
        )
        return 500, "failed"
    return answer.status, answer.word


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    return {
        name.removeprefix("HTTP_").replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }


def say(
    start_response: StartResponse, status: int, word: str, *headers: tuple[str, str]
) -> list[bytes]:
    """Answer with a status and a word of ASCII."""
    about = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(word)))]
    start_response(f"{status} {HTTPStatus(status).phrase}", [*about, *headers])
    return [word.encode()]
