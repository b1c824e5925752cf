"""What all pages have in common: who may see them, who may act, what they say without Redis.

A page derives from `Page`, reads in `self.read(function, *args)` and shows a template that extends
``batchq/base.html``. What acts derives from `Action`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

import redis
from kombu.exceptions import OperationalError
from tornado.web import HTTPError, RequestHandler, authenticated

from batchq.errors import BatchqError, ConfigurationError, NotFound
from batchq.flower import show
from batchq.flower.desk import Away, off_the_loop
from batchq.flower.seams import FlowerHandler, options_of
from batchq.settings.config import settings
from batchq.settings.record import Settings

__all__ = ["Action", "Page", "why_read_only"]

logger = logging.getLogger("batchq.flower")

T = TypeVar("T")
P = ParamSpec("P")

AWAY = (Away, redis.ConnectionError, redis.TimeoutError, OperationalError)


class Page(FlowerHandler):
    """A page that only those see whom Flower lets in."""

    @authenticated
    def prepare(self) -> None:
        """Nobody gets further who is not logged in, where Flower asks for that."""

    def set_default_headers(self) -> None:
        # Not Flower's, which let every site read where its API is open: prompts may stand here.
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "SAMEORIGIN")
        self.set_header("Cache-Control", "no-cache")

    @property
    def app(self) -> Any:
        """The Celery app."""
        return self.capp

    @property
    def settings_of_app(self) -> Settings:
        return settings(self.app)

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what talks to Redis on a thread; raises Away where it takes too long."""
        return await off_the_loop(function, *args, **kwargs)

    def link(self, *parts: str, **query: str) -> str:
        """The address of one of our pages: ``link("batch", batch_id)``, ``link()`` is the list."""
        path = "/".join(quote(part, safe="") for part in parts)
        return show.with_query(self.reverse_url("batchq-batches") + (path and f"/{path}"), query)

    @property
    def why_read_only(self) -> str:
        """Why nobody can act here; empty where they can."""
        return why_read_only(self)

    def show(self, template: str, **values: Any) -> None:
        """Render one of our templates."""
        self.render(f"batchq/{template}", **values)

    def get_template_namespace(self) -> dict[str, Any]:
        # Here, so that what a template includes has them too.
        known = {"link": self.link, "show": show, "why_read_only": self.why_read_only}
        return super().get_template_namespace() | known

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        status, words = _told(error)
        # Not a 401, which Flower says itself: browsers look in it for what to log in to, and with
        # what they know already they do so unasked.
        if (
            isinstance(error, HTTPError)
            and self.wants_json
            and status_code != HTTPStatus.UNAUTHORIZED
        ):
            status, words = status_code, error.log_message or self._reason
        if not words:
            super().write_error(status_code, **kwargs)
            return
        self.set_status(status)
        self.say(words, away=isinstance(error, AWAY))

    def answer(self, content: Mapping[str, Any]) -> None:
        """Answer with JSON."""
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        # "</" would end a script that somebody puts it into.
        self.finish(json.dumps(content).replace("</", "<\\/"))

    def say(self, words: str, *, away: bool = False) -> None:
        """Answer with a sentence: as JSON to a script of ours, else as a page."""
        if not hasattr(self, "_current_user"):
            self.current_user = None
        if self.wants_json:
            self.answer({"message": words})
        else:
            self.show("message.html", message=words, away=away)

    @property
    def wants_json(self) -> bool:
        return "application/json" in self.request.headers.get("Accept", "")

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if isinstance(value, AWAY):
            logger.warning(
                "the page %s is not shown, for Redis does not answer (%s)",
                *(self.request.path, type(value).__name__),
                extra={"action": "show"},
            )
        elif not isinstance(value, BatchqError):
            super().log_exception(typ, value, tb)


class Action(Page):
    """What changes something: only as a POST from one of our own pages, by who may act."""

    def check_xsrf_cookie(self) -> None:
        """Always, unlike Flower, which leaves it out where it has no sessions of its own."""
        site = self.request.headers.get("Sec-Fetch-Site")
        origin = self.request.headers.get("Origin")
        if site and site != "same-origin":
            raise HTTPError(403, "Cross-site request forbidden")
        if not site and origin and urlsplit(origin).netloc != self.request.host:
            raise HTTPError(403, "Cross-origin request forbidden")
        RequestHandler.check_xsrf_cookie(self)

    def prepare(self) -> None:
        super().prepare()
        if not self._finished and self.why_read_only:
            raise HTTPError(403, self.why_read_only)


def why_read_only(handler: FlowerHandler) -> str:
    """Why nobody can act through a page of this Flower; empty where they can."""
    options = options_of(handler.application)
    if options.read_only:
        return "Flower runs with --read_only."
    if not (options.basic_auth or options.auth or handler.unauthenticated_api):
        # As Flower's own buttons: whoever reaches the port is not yet an operator.
        return (
            "Flower runs without authentication. Start it with --basic_auth or --auth, "
            "or set FLOWER_UNAUTHENTICATED_API=true."
        )
    return ""


def _told(error: BaseException | None) -> tuple[int, str]:
    """The status and the words for what went wrong; no words for what Flower tells itself."""
    if isinstance(error, AWAY):
        return 503, "Redis does not answer."
    if isinstance(error, NotFound):
        words = str(error)
        return 404, words[:1].upper() + words[1:]
    if isinstance(error, ConfigurationError):
        return 500, f"Batchq's settings are wrong: {error}"
    if isinstance(error, BatchqError):
        return 500, f"{type(error).__name__}: {error}"
    return 0, ""
