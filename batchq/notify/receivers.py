"""Who is told, and of what. A receiver has a number: its URL is in no message and no key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from batchq.common.record import nearest
from batchq.errors import ConfigurationError
from batchq.events import KINDS, BatchFailed, Event
from batchq.notify.post import poster
from batchq.settings.config import behind, settings
from batchq.settings.sources import read

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["NEWS", "Receiver", "install", "receivers"]

NEWS = (
    *(
        "batch_finished",
        "batch_failed",
        "task_dead",
        "batch_set_aside",
        "limit_reached",
        "budget_near",
    ),
    *("account_paused", "lane_stuck"),
)
"""What is posted, where nothing else is said."""


def install(app: Celery[Any], urls: str | Iterable[str], *, on: Iterable[str] = NEWS) -> None:
    """Post the kinds of events named in ``on`` to one or several URLs.

    ``http://`` and ``https://`` URLs are incoming webhooks as Slack, Mattermost, Discord
    (``…/slack``) and others have them; any other is Apprise's, which ``batchq[notify]`` installs.
    Call it where the app is made, so that every worker does. Raises ConfigurationError, which never
    shows a URL: it holds a secret.
    """
    given = [urls] if isinstance(urls, str) else list(urls)
    kinds = _known_kinds(on)
    made = [Receiver(url, kinds, number) for number, url in enumerate(given, 1)]
    _installed.setdefault(behind(app), []).extend(made)


def _known_kinds(on: Iterable[str]) -> frozenset[str]:
    for kind in (kinds := frozenset([on] if isinstance(on, str) else on)):
        if kind not in KINDS:
            known = ", ".join(KINDS)
            raise ConfigurationError("on", repr(kind), f"known are {known}", nearest(kind, KINDS))
    return kinds


class Receiver:
    """One URL and what it wants to hear of. ``number`` is its place among those given with it."""

    def __init__(self, url: str, kinds: frozenset[str], number: int) -> None:
        self._url = url.strip()
        self._kinds = kinds
        self._post = poster(self._url, number)

    def wants(self, event: Event) -> bool:
        """Whether it is to hear of this.

        Not of what another event says better: of a provider without room, and of an account that
        is paused, one is enough an hour.
        """
        said = isinstance(event, BatchFailed) and event.reason in {"no_room", "paused"}
        return event.kind in self._kinds and not said

    def post(self, text: str) -> None:
        """Post a message. Raises NotTold."""
        self._post(self._url, text)


_installed: WeakKeyDictionary[Any, list[Receiver]] = WeakKeyDictionary()
_of_settings: WeakKeyDictionary[Any, list[Receiver]] = WeakKeyDictionary()


def receivers(app: Any) -> list[Receiver]:
    """Who is told, by `install` and by the setting. Raises ConfigurationError."""
    app = behind(app)
    if app not in _of_settings:
        _of_settings[app] = _by_settings(app)
    return [*_installed.get(app, ()), *_of_settings[app]]


def _by_settings(app: Any) -> list[Receiver]:
    given = settings(app).notify
    if given is None:
        return []
    urls = read(given, "batchq_notify", "URL").split()
    kinds = frozenset(NEWS)
    return [Receiver(url, kinds, number) for number, url in enumerate(urls, 1)]
