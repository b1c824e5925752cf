"""Notify: what needs somebody's attention is posted to Slack-compatible webhooks, or by Apprise.

    app.conf.batchq_notify = "BATCHQ_NOTIFY"       # the environment variable that holds the URLs

or, in code that has the URL already, ``batchq.notify.install(app, url)`` where the app is made.

What is posted comes out of the journal's stream of events, at each tick of rescue and in a thread
of the worker that took the tick: so what happened since the last message is in one, whichever
workers it happened in, and a receiver that is slow or away holds nothing up. It is tried again
until it answers. Where a worker dies just after it has posted, the next one posts the same again.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import redis

from batchq.common.record import nearest
from batchq.common.words import dollars
from batchq.errors import ConfigurationError
from batchq.events import KINDS, BatchFailed, BatchFinished, Event
from batchq.journal import Journal, journal_of
from batchq.settings.config import behind, settings
from batchq.settings.sources import fingerprint

if TYPE_CHECKING:
    from celery import Celery

    App = Celery[Any]

__all__ = ["NEWS", "install", "message"]

logger = logging.getLogger("batchq.notify")

NEWS = (
    *("batch_finished", "batch_failed", "prompt_dead", "limit_reached", "budget_near"),
    *("account_paused", "lane_stuck"),
)
"""What is posted, where nothing else is said."""

_TIMEOUT = 10
_LINES = 3
"""How many events of a kind have a line of their own in a message."""

_LONGEST = 1900
"""Characters of a message; Discord takes 2,000."""

_EVENTS = 1000
_LONGEST_PAUSE = timedelta(minutes=10)


def install(app: App, urls: str | Iterable[str], *, on: Iterable[str] = NEWS) -> None:
    """Post the kinds of events named in ``on`` to one or several URLs.

    ``http://`` and ``https://`` URLs are incoming webhooks as Slack, Mattermost, Discord
    (``…/slack``) and others have them; any other is Apprise's, which ``batchq[notify]`` installs.
    Call it where the app is made, so that every worker does. Raises ConfigurationError, which never
    shows a URL: it holds a secret.
    """
    given = [urls] if isinstance(urls, str) else list(urls)
    kinds = _known_kinds(on)
    made = [_Receiver(url, kinds, number) for number, url in enumerate(given, 1)]
    _installed.setdefault(behind(app), []).extend(made)


def _known_kinds(on: Iterable[str]) -> frozenset[str]:
    for kind in (kinds := frozenset([on] if isinstance(on, str) else on)):
        if kind not in KINDS:
            known = ", ".join(KINDS)
            raise ConfigurationError("on", repr(kind), f"known are {known}", nearest(kind, KINDS))
    return kinds


_installed: WeakKeyDictionary[Any, list[_Receiver]] = WeakKeyDictionary()
_of_settings: WeakKeyDictionary[Any, list[_Receiver]] = WeakKeyDictionary()


def _receivers(app: Any) -> list[_Receiver]:
    """Who is told, by `install` and by the setting. Raises ConfigurationError."""
    app = behind(app)
    if app not in _of_settings:
        _of_settings[app] = _by_settings(app)
    return [*_installed.get(app, ()), *_of_settings[app]]


def _by_settings(app: Any) -> list[_Receiver]:
    variable = settings(app).notify
    if variable is None:
        return []
    urls = os.environ.get(variable, "").split()
    if not urls:
        what = f"the environment variable {variable} is not set; it holds one URL or more"
        raise ConfigurationError("batchq_notify", None, what)
    kinds = frozenset(NEWS)
    return [_Receiver(url, kinds, number) for number, url in enumerate(urls, 1)]


def begin(app: App) -> None:
    """Let everybody be told of what happens from now on, where nobody was told before.

    Raises ConfigurationError where the setting is wrong.
    """
    for receiver in _receivers(app):
        try:
            journal_of(app).events.notified(receiver.id)
        except redis.RedisError:
            return  # It begins at the first tick.


def wake(app: App) -> None:
    """See to it, in a thread, that everybody is told of what has happened since the last time."""
    try:
        receivers = _receivers(app)
    except ConfigurationError as error:
        logger.error("nobody is notified: %s", error, extra={"action": "notify"})  # noqa: TRY400 the words say it all
        return
    for receiver in receivers:
        receiver.wake(app)


class _Receiver:
    """One URL and what it wants to hear of."""

    def __init__(self, url: str, kinds: frozenset[str], number: int) -> None:
        self._url = url.strip()
        self._kinds = kinds
        self._number = number
        self._post = _post_to_webhook if _is_webhook(self._url, number) else _post_by_apprise
        self._thread: threading.Thread | None = None
        #: Names it in Redis. Two that hear of other things are two.
        self.id = fingerprint(" ".join((self._url, *sorted(kinds))))

    def __repr__(self) -> str:
        return f"<receiver {self._number} of notices, {self.id}>"

    def wake(self, app: Any) -> None:
        # Made here and not before a fork: a thread does not come along, and counts as ended there.
        if self._thread is None or not self._thread.is_alive():
            name = f"batchq-notify-{self._number}"
            self._thread = threading.Thread(target=self._run, args=(app,), name=name, daemon=True)
            self._thread.start()

    def _run(self, app: Any) -> None:
        try:
            journal = journal_of(app)
            with journal.events.notify_lease(self.id) as lease:
                if lease is not None:
                    self._tell(app, journal)
        except Exception as error:  # noqa: BLE001 Redis may be away; the next tick tries again
            self._say_failed(type(error).__name__)

    def _tell(self, app: Any, journal: Journal) -> None:
        known, tick = journal.events.notified(self.id), settings(app).tick
        if known.until > journal.clock.now():
            return
        news = journal.events.read(after=known.id, count=_EVENTS)
        if not news:
            return
        wanted = [event for event in news if event.kind in self._kinds and not _is_said(event)]
        failure = self._send(message(wanted, str(app.main or "batchq"))) if wanted else None
        if failure is None:
            # What happens meanwhile is gathered: services refuse more than a message a second.
            pause = 2 * tick if wanted else timedelta(0)
            journal.events.note_notified(self.id, id=news[-1].id, failures=0, pause=pause)
            return
        self._say_failed(failure.why, refused=failure.refused)
        pause = failure.retry_after or 2 * tick * 2 ** min(known.failures, 10)
        journal.events.note_notified(
            self.id,
            # A message that is refused would be refused again, and those after it never be read.
            id=news[-1].id if failure.refused else known.id,
            failures=known.failures + 1,
            pause=min(pause, _LONGEST_PAUSE),
        )

    def _send(self, text: str) -> _Failure | None:
        try:
            return self._post(self._url, text)
        except Exception as error:  # noqa: BLE001 a library's, of any kind
            return _Failure(type(error).__name__)

    def _say_failed(self, why: str, *, refused: bool = False) -> None:
        # Neither the URL nor the words of an error, which may repeat it.
        what = "has refused a message, which is dropped" if refused else "is not told yet"
        logger.warning(
            "receiver %d of notices %s (%s)",
            *(self._number, what, why),
            extra={"action": "notify"},
        )


def _is_said(event: Event) -> bool:
    """True for what another event says better: of a provider without room, and of an account that
    is paused, one is enough an hour.
    """
    return isinstance(event, BatchFailed) and event.reason in {"no_room", "paused"}


# How it is posted


@dataclass(frozen=True, slots=True)
class _Failure:
    why: str
    retry_after: timedelta | None = None
    refused: bool = False


_URLS = "accepted is https://… of an incoming webhook, without a user in it, or a URL of Apprise's"


def _is_webhook(url: str, number: int) -> bool:
    """True for a webhook, False for Apprise's. Raises ConfigurationError, without the URL."""
    where = f"batchq_notify, URL {number}"
    try:
        parts, webhook = urlsplit(url), url.lower().startswith(("http://", "https://"))
        whole = bool(parts.scheme and url.isprintable() and " " not in url and parts.port != 0)
        if webhook and whole and parts.hostname and parts.username is None:
            return True
    except ValueError:
        webhook, whole = True, False
    if webhook or not whole:
        raise ConfigurationError(where, None, _URLS)
    if _apprise(url) is None:
        raise ConfigurationError(where, None, f"Apprise does not take it; {_URLS}")
    return False


def _post_to_webhook(url: str, text: str) -> _Failure | None:
    from urllib import error, request

    class AsItIs(request.HTTPErrorProcessor):
        # No redirect is followed: what is posted goes nowhere else.
        def http_response(self, request: Any, response: Any) -> Any:  # noqa: ARG002 the base's
            return response

        https_response = http_response

    body = json.dumps({"text": _escaped(text)}).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "batchq"}
    post = request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 of http and https only
    try:
        with request.build_opener(AsItIs).open(post, timeout=_TIMEOUT) as response:
            status, after = response.status, response.headers.get("Retry-After", "")
    except error.URLError as failure:
        return _Failure(type(failure.reason).__name__)
    if 200 <= status < 300:
        return None
    pause = timedelta(seconds=int(after)) if re.fullmatch(r"[0-9]{1,5}", after) else None
    refused = 300 <= status < 500 and status not in {408, 425, 429}
    return _Failure(f"HTTP {status}", pause, refused)


def _escaped(text: str) -> str:
    """What Slack would take for a link, or for a call to everybody in the channel, as text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _post_by_apprise(url: str, text: str) -> _Failure | None:
    with _others_quiet():
        known = _apprise(url)
        return None if known is not None and known.notify(body=text) else _Failure("Apprise")


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


# What is said


def message(events: Sequence[Event], app: str) -> str:
    """Some events as a text for people, those of a kind together."""
    kinds = dict.fromkeys(event.kind for event in events)
    lines = [
        line for kind in kinds for line in _lines([event for event in events if event.kind == kind])
    ]
    text = f"{app}: {lines[0]}" if len(lines) == 1 else "\n• ".join((f"{app}:", *lines))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _lines(some: Sequence[Event]) -> list[str]:
    if len(some) <= _LINES:
        return [str(event) for event in some]
    what = some[0].kind.replace("_", " ")
    ended = [event for event in some if isinstance(event, (BatchFinished, BatchFailed))]
    if not ended:
        return [f"{what}, {len(some):,} times. The last: {some[-1]}"]
    prompts, cost = sum(event.answered for event in ended), sum(event.cost for event in ended)
    lanes = Counter(event.lane for event in ended).most_common(_LINES)
    shown = ", ".join(f"{count:,} of {lane}" for lane, count in lanes)
    paid = f", {dollars(cost)}" if cost else ""
    return [f"{what}, {len(some):,} times: {prompts:,} prompts answered{paid} ({shown})"]
