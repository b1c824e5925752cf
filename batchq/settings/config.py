"""The settings of an app: read once, checked at once, and explaining themselves.

`settings(app)` gives one frozen object for everything an app sets under ``batchq_*``.
Keys of provider accounts are never in it: an `Account` holds where its key comes from.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from batchq.common.record import explain, nearest
from batchq.errors import ConfigurationError
from batchq.settings.connecting import link_to
from batchq.settings.links import Source
from batchq.settings.record import PREFIX, Settings
from batchq.settings.redis_urls import REDIS_URLS, is_redis, read_redis_url

if TYPE_CHECKING:
    from celery import Celery

    App = Celery[Any]


def _sources(app: App) -> list[Source]:
    """The Redis the app uses already, for results and as its broker, behind their settings."""
    found: list[Source] = []
    for setting in ("result_backend", "broker_url"):
        given = cast("object", getattr(app.conf, setting))
        urls = given.split(";") if isinstance(given, str) else given
        each = cast("list[object]", urls) if isinstance(urls, (list, tuple)) else []
        ours = [one for one in each if isinstance(one, str) and is_redis(one)]
        if ours:
            try:
                found.append(Source(setting, ";".join(ours), read_redis_url(ours)))
            except ValueError as error:
                raise ConfigurationError(setting, None, str(error)) from None
    return found


def _own_redis(app: App) -> Source:
    if sources := _sources(app):
        return sources[0]
    raise ConfigurationError(
        "batchq_redis_url",
        None,
        "neither result_backend nor broker_url is a Redis, so say where the journal is kept; "
        + REDIS_URLS,
    )


def behind(app: App) -> App:
    """The app itself: current_app is a stand-in, the same one whatever the app behind it."""
    return cast("App", getattr(app, "_get_current_object", lambda: app)())


_read: WeakKeyDictionary[App, Settings] = WeakKeyDictionary()


def settings(app: App) -> Settings:
    """The settings of `app`, read from its configuration the first time and kept.

    Raises ConfigurationError, which names the setting, what was given and what is accepted.
    """
    app = behind(app)
    if app not in _read:
        _read[app] = _settings_of(app)
    return _read[app]


def known_settings() -> list[Settings]:
    """The settings of all apps of this process, as far as they have been needed."""
    return list(_read.values())


def settings_without_redis(app: App) -> Settings:
    """As `settings`; of an app that names no Redis too, where nothing is written to one."""
    try:
        return settings(app)
    except ConfigurationError as error:
        if error.setting != "batchq_redis_url" or error.given is not None:
            raise
        return _settings_of(behind(app), redis_url="redis://nobody.invalid")


def _settings_of(app: App, *, redis_url: str | None = None) -> Settings:
    given = _given(app)
    if given.get("redis_url") is None:
        given["redis_url"] = _own_redis(app).urls if redis_url is None else redis_url
    try:
        read = Settings.model_validate(given, context={"app": app})
    except ConfigurationError as error:
        if error.setting.startswith(PREFIX):
            raise
        setting = PREFIX + error.setting
        raise ConfigurationError(setting, error.given, error.expected, error.nearest) from None
    except ValidationError as error:
        raise explain(error, PREFIX, show=True) from None
    return read.linked(link_to(read.redis_url, read.redis_options, app, _sources(app)))


def sources(app: App) -> dict[str, str]:
    """Where the value of each setting comes from, by field: ``app`` (its configuration),
    ``default``, ``environment``, or the other setting that it follows.
    """
    config, given = settings(app), _given(app)
    found = {name: "app" if name in given else "default" for name in Settings.model_fields}
    if given.get("redis_url") is None:
        found["redis_url"] = _own_redis(app).setting
    if "accounts" not in given and _ACCOUNT_VARIABLES & os.environ.keys():
        found["accounts"] = "environment"
    if config.flush_at and "flush_after" not in given:
        found["flush_after"] = PREFIX + "flush_at"
    return found


_ACCOUNT_VARIABLES = frozenset({"OPENAI_BASE_URL", "OPENAI_API_KEY"})


def _given(app: App) -> dict[str, Any]:
    """What the app sets for us, by field; a name that resembles ours and is not is refused."""
    namespace = cast("str", getattr(app, "namespace", None) or "")
    long_prefix = (f"{namespace}_{PREFIX}" if namespace else PREFIX).lower()
    found: dict[str, Any] = {}
    for name in app.conf:
        if not name.lower().startswith((PREFIX, long_prefix)):
            continue
        field = name.lower().removeprefix(long_prefix).removeprefix(PREFIX)
        spelled = _spelled(field, namespace)
        # Django's BATCHQ_TICK beside CELERY_BATCHQ_TICK is a name Celery never looks up.
        if field not in Settings.model_fields or name not in (spelled, PREFIX + field):
            close = nearest(field, Settings.model_fields)
            real = None if close is None else _spelled(close, namespace)
            raise ConfigurationError(name, None, "there is no setting of that name", real)
        found[field] = app.conf.get(PREFIX + field)
    return found


def _spelled(field: str, namespace: str) -> str:
    """The name as Celery looks it up: CELERY_BATCHQ_TICK in the namespace CELERY."""
    name = PREFIX + field
    if not namespace:
        return name
    return f"{namespace}_{name.upper() if namespace.isupper() else name}"
