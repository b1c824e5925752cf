"""Settings: read once per app, checked at once, and explaining themselves.

`settings(app)` gives one frozen object for everything an app sets under ``batchq_*``.
Keys of provider accounts are never in it: an `Account` holds where its key comes from.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from weakref import WeakKeyDictionary

from celery.schedules import BaseSchedule, crontab, schedule
from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_serializer,
    model_validator,
)

from batchq.common.record import Record, explain, nearest
from batchq.errors import ConfigurationError
from batchq.settings.account import Account
from batchq.settings.accounts import Accounts, read_accounts
from batchq.settings.links import Link, Source, check_options, link_to
from batchq.settings.prices import OwnPrice, read_prices
from batchq.settings.refusals import REFUSALS

if TYPE_CHECKING:
    from celery import Celery

    App = Celery[Any]

PREFIX = "batchq_"

# Durations


def _duration(value: object) -> timedelta | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        value = timedelta(seconds=value)
    return value if isinstance(value, timedelta) else None


def _seconds(value: object) -> timedelta:
    duration = _duration(value)
    if duration is None or duration < timedelta(0):
        raise ValueError("accepted is a number of seconds, or a timedelta, 0 or more")
    return duration


def _some_seconds(value: object) -> timedelta:
    duration = _duration(value)
    if duration is None or duration <= timedelta(0):
        raise ValueError("accepted is a number of seconds, or a timedelta, more than 0")
    return duration


def _file_life(value: object) -> timedelta | None:
    if value is None:
        return None
    life = _seconds(value)
    if not timedelta(hours=1) <= life <= timedelta(days=30):
        raise ValueError("accepted is 1 hour to 30 days, or None for the provider's own rule")
    return life


_AZURE_KEEPS = timedelta(days=14)
"""At the least: 1,209,600 to 2,592,000 s are taken (Azure's guide to batches, 2025-03-31)."""


def _maybe_seconds(value: object) -> timedelta | None:
    return None if value is None else _seconds(value)


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
PositiveDuration = Annotated[timedelta, BeforeValidator(_some_seconds)]


def _variable(value: object, info: ValidationInfo) -> str | None:
    if value is None or (isinstance(value, str) and _VARIABLE.fullmatch(value)):
        return value
    # Not a ValueError: pydantic would show what was given, and that may be the secret itself.
    setting = info.field_name or ""
    what = {"encryption": "keys", "notify": "URLs"}[setting]
    raise ConfigurationError(
        setting,
        None,
        f"accepted is the name of the environment variable that holds the {what}, or None",
    )


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
"""Shorter than a key (44 characters, the last one of them no letter)."""

# Headers

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+\*?")


def _header_names(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    names = list(cast("list[object]", value)) if isinstance(value, (list, tuple, set)) else [None]
    if not all(isinstance(name, str) and _HEADER.fullmatch(name) for name in names):
        raise ValueError(
            "accepted is a list of names of headers; one that ends with * stands for all that "
            'begin so, such as ["x-team", "x-trace-*"]'
        )
    return tuple(str(name).lower() for name in names)


# Where large bodies are kept

_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.:-]*://\S+")


def _storage(value: object) -> str | None:
    if value is None:
        return None
    where = str(value) if isinstance(value, Path) else value
    if isinstance(where, str) and (os.path.isabs(where) or _ELSEWHERE.fullmatch(where)):  # noqa: PTH117 a path is kept as it is given
        return where
    raise ValueError(
        "accepted is the absolute path of a directory that all workers share, a URL that fsspec "
        "takes, such as s3://bucket/batchq, or None"
    )


def _shown_storage(where: str | None) -> str | None:
    return where if where is None or "://" not in where else _without_password(where)


# Known refusals

_SWITCH = {True: True, False: False, "on": True, "off": False}


def _switches(value: object) -> dict[str, bool] | None:
    if value is None:
        return None
    known = [refusal.name for refusal in REFUSALS]
    given = cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {None: None}
    if not all(isinstance(name, str) and _is_switch(state) for name, state in given.items()):
        raise ValueError(f'accepted is a dict such as {{"{known[0]}": False}}, with "on" and "off"')
    for name in cast("Mapping[str, object]", given):
        if name not in known:
            setting = f"known_refusals[{name!r}]"
            expected = f"there is none of that name; there are {', '.join(known)}"
            raise ConfigurationError(setting, None, expected, nearest(name, known))
    return {cast("str", name): _SWITCH[cast("str", state)] for name, state in given.items()}


def _is_switch(state: object) -> bool:
    return isinstance(state, (bool, str)) and state in _SWITCH


# Money


def _dollars(value: object) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        # By its text: 0.1 is meant as 0.1.
        amount = Decimal(str(value))
        if amount.is_finite() and amount > 0:
            return amount
    raise ValueError("accepted is a number of US dollars, more than 0, or None")


# Times of the day

_CLOCK = re.compile(r"(?:at )?([01]?\d|2[0-3]):([0-5]\d)")
_EVERY = re.compile(r"every (?:([1-9]\d*) )?(hour|minute)s?")
_CRON = re.compile(r"\S+( \S+){4}")
_TIMES = (
    'accepted is "HH:MM", "every N hours", "every N minutes", a cron expression of five fields, '
    "a Celery schedule, or a list of these"
)


def _schedules(value: object, info: ValidationInfo) -> tuple[BaseSchedule, ...]:
    if value is None:
        return ()
    given = cast(
        "list[object] | tuple[object, ...]", value if isinstance(value, (list, tuple)) else [value]
    )
    app = cast("dict[str, App]", info.context or {}).get("app")
    return tuple(_schedule(item, app) for item in given)


def _schedule(item: object, app: App | None) -> BaseSchedule:
    if isinstance(item, BaseSchedule):
        return item
    if isinstance(item, str):
        text = " ".join(item.split())
        if clock := _CLOCK.fullmatch(text):
            return crontab(hour=int(clock[1]), minute=int(clock[2]), app=app)
        if every := _EVERY.fullmatch(text):
            return _every(int(every[1] or 1), every[2], app)
        if _CRON.fullmatch(text):
            return _crontab(text, app)
    raise ValueError(_TIMES)


def _every(number: int, unit: str, app: App | None) -> BaseSchedule:
    # By the wall clock where that is even: a beat that restarts more often than
    # the interval would otherwise start counting anew each time and never fire.
    if unit == "hour" and 24 % number == 0:
        return crontab(minute=0, hour=f"*/{number}", app=app)
    if unit == "minute" and 60 % number == 0:
        return crontab(minute=f"*/{number}", app=app)
    return schedule(timedelta(**{f"{unit}s": number}), app=app)


def _crontab(text: str, app: App | None) -> BaseSchedule:
    minute, hour, day_of_month, month_of_year, day_of_week = text.split()
    try:
        return crontab(minute, hour, day_of_week, day_of_month, month_of_year, app=app)
    except Exception as error:  # Celery's parser raises ValueError, ParseException and KeyError.
        raise ValueError(_TIMES) from error


# Redis

_REDIS_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "redis+socket": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
    "sentinel": "sentinel",
    "redis+cluster": "redis+cluster",
    "rediss+cluster": "rediss+cluster",
    "valkey+cluster": "redis+cluster",
    "valkeys+cluster": "rediss+cluster",
}
_REDIS_URLS = (
    "accepted is redis://host:port/db, rediss://…, unix:///path?db=0 or redis+socket:///path, "
    "sentinel://host:port/db or redis+cluster://host:port; several of a kind with ; between"
)


def _is_redis(url: object) -> bool:
    return isinstance(url, str) and url.partition("://")[0].lower() in _REDIS_SCHEMES


def _redis_url(given: object) -> str:
    """The URL redis-py wants for a URL as Celery or kombu writes it; several with ``;`` between."""
    urls = given.split(";") if isinstance(given, str) else given
    if not isinstance(urls, (list, tuple)) or not urls:
        raise ValueError(_REDIS_URLS)
    each = [_one_redis_url(one) for one in cast("list[object]", urls)]
    schemes = {one.partition("://")[0] for one in each}
    if len(each) > 1 and (len(schemes) > 1 or "unix" in schemes):
        raise ValueError(_REDIS_URLS)
    return ";".join(each)


def _one_redis_url(url: object) -> str:
    from redis import ConnectionPool

    if not isinstance(url, str) or not _is_redis(url):
        raise ValueError(_REDIS_URLS)
    parts = urlsplit(url if "://" in url else f"{url}://")  # Celery takes backend="redis" too
    query = dict(parse_qsl(parts.query))
    if "virtual_host" in query:
        query["db"] = query.pop("virtual_host").lstrip("/")
    if "ssl_cert_reqs" in query:  # Celery writes CERT_NONE, redis-py only knows none.
        query["ssl_cert_reqs"] = query["ssl_cert_reqs"].lower().removeprefix("cert_")
    scheme = _REDIS_SCHEMES[parts.scheme]
    # By hand: urlunsplit drops the empty authority that unix:///path needs.
    tail = f"?{urlencode(query, quote_via=quote)}" if query else ""
    rest = f"://{parts.netloc}{parts.path}{tail}"
    plain = "redis" if scheme == "sentinel" else scheme.removesuffix("+cluster")
    try:
        # Connects to nothing yet.
        ConnectionPool.from_url(plain + rest)  # pyright: ignore[reportUnknownMemberType]
    except ValueError:
        # The error of urllib quotes pieces of the URL, and a password may be one.
        raise ValueError(_REDIS_URLS) from None
    return scheme + rest


def _sources(app: App) -> list[Source]:
    """The Redis the app uses already, for results and as its broker, behind their settings."""
    found: list[Source] = []
    for setting in ("result_backend", "broker_url"):
        given = cast("object", getattr(app.conf, setting))
        urls = given.split(";") if isinstance(given, str) else given
        each = cast("list[object]", urls) if isinstance(urls, (list, tuple)) else []
        ours = [one for one in each if isinstance(one, str) and _is_redis(one)]
        if ours:
            try:
                found.append(Source(setting, ";".join(ours), _redis_url(ours)))
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
        + _REDIS_URLS,
    )


def _redis_options(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError('accepted is a dict, such as {"master_name": "mymaster"}')  # noqa: TRY004
    options = cast("dict[str, Any]", given)
    check_options(options)
    return dict(options)


def _without_password(urls: str) -> str:
    return ";".join(map(_one_without_password, urls.split(";")))


def _one_without_password(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}:***@{host}" if at else parts.netloc
    query = re.sub(r"(password=)[^&]*", r"\1***", parts.query)
    return f"{parts.scheme}://{netloc}{parts.path}{'?' + query if query else ''}"


# Settings


class Settings(Record):
    """Everything set under ``batchq_*``; docs/configuration.md says what each is for.

    Printing or dumping it masks the password in `redis_url`.
    """

    _what: ClassVar[str] = "setting"

    redis_url: Annotated[str, BeforeValidator(_redis_url)]
    redis_options: Annotated[
        dict[str, Any], BeforeValidator(_redis_options), PlainSerializer(sorted)
    ] = Field(default_factory=dict[str, Any], repr=False)
    key_prefix: str = Field("batchq", pattern=r"^[A-Za-z0-9_.:-]+$")
    queue: str = Field("batchq", min_length=1)
    accounts: Annotated[
        Accounts,
        BeforeValidator(read_accounts),
        PlainSerializer(lambda accounts: {n: a.model_dump() for n, a in accounts.items()}),
    ] = Field(default_factory=lambda: Accounts({"default": Account()}))
    flush_after: Annotated[timedelta | None, BeforeValidator(_maybe_seconds)] = timedelta(
        minutes=15
    )
    flush_prompts: PositiveInt = 10_000
    flush_bytes: PositiveInt | None = None
    flush_at: Annotated[
        tuple[BaseSchedule, ...],
        BeforeValidator(_schedules),
        PlainSerializer(lambda schedules: [repr(one) for one in schedules]),
    ] = ()
    tick: PositiveDuration = timedelta(seconds=5)
    max_attempts: PositiveInt = 3
    poll_first: PositiveDuration = timedelta(seconds=5)
    poll_longest: PositiveDuration = timedelta(minutes=5)
    lease: PositiveDuration = timedelta(seconds=8)
    batch_deadline: PositiveDuration = timedelta(hours=26)
    create_grace: Duration = timedelta(seconds=90)
    files_grace: Duration = timedelta(minutes=10)
    keep_journal: PositiveDuration = timedelta(days=14)
    keep_done: PositiveDuration = timedelta(days=1)
    long_run: PositiveDuration = timedelta(minutes=10)
    keep_batches: PositiveDuration = timedelta(days=7)
    delete_files: bool = True
    file_expiry: Annotated[timedelta | None, BeforeValidator(_file_life)] = timedelta(days=14)
    strict: bool = False
    streams: bool = True
    ignore_headers: Annotated[tuple[str, ...], BeforeValidator(_header_names)] = ()
    known_refusals: Annotated[dict[str, bool] | None, BeforeValidator(_switches)] = None
    allow_unsafe_redis: bool = False
    installation: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    encryption: Annotated[str | None, BeforeValidator(_variable)] = None
    large_bodies: Annotated[str | None, BeforeValidator(_storage)] = None
    large_body_bytes: PositiveInt = 256_000
    show_prompts: bool = False
    prices: Annotated[dict[str, OwnPrice], BeforeValidator(read_prices)] = Field(
        default_factory=dict[str, OwnPrice]
    )
    budget: Annotated[Decimal | None, BeforeValidator(_dollars)] = None
    notify: Annotated[str | None, BeforeValidator(_variable)] = None
    _link: Link | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _only_at_times(cls, given: Any) -> Any:
        """Who says when lanes are flushed does not want them flushed every 15 minutes as well."""
        if not isinstance(given, dict):
            return given
        values = dict(cast("dict[str, object]", given))
        if values.get("flush_at") and "flush_after" not in values:
            values["flush_after"] = None
        return values

    @model_validator(mode="after")
    def _together(self) -> Settings:
        self._not_longer("poll_first", "poll_longest", "the pause between polls grows to it")
        self._not_longer(
            "batch_deadline", "keep_journal", "a journal has to outlive the batch it waits for"
        )
        if self.file_expiry is not None:
            self._not_longer(
                "batch_deadline", "file_expiry", "a batch's files have to outlive the batch"
            )
            self._azure_takes(self.file_expiry)
        return self

    def _azure_takes(self, life: timedelta) -> None:
        azure = [name for name, account in self.accounts.items() if account.kind == "azure"]
        if azure and life < _AZURE_KEEPS:
            raise ConfigurationError(
                PREFIX + "file_expiry",
                str(life),
                f"Azure (account {azure[0]!r}) takes 14 to 30 days and refuses each file that is "
                "to be deleted sooner; accepted is that, or None",
            )

    def _not_longer(self, shorter: str, longer: str, why: str) -> None:
        if getattr(self, shorter) > getattr(self, longer):
            raise ConfigurationError(
                PREFIX + shorter,
                str(getattr(self, shorter)),
                f"accepted is at most {PREFIX}{longer} = {getattr(self, longer)}: {why}",
            )

    @property
    def refusals_off(self) -> frozenset[str]:
        return frozenset(name for name, on in (self.known_refusals or {}).items() if not on)

    @property
    def shown_redis_url(self) -> str:
        """`redis_url` without its password, for people to read."""
        return _without_password(self.redis_url)

    @property
    def shown_large_bodies(self) -> str:
        """Where large bodies are kept, without a password, for people to read."""
        return _shown_storage(self.large_bodies) or ""

    @property
    def link(self) -> Link:
        """The way to the Redis of the journal, with what Celery's own settings say of it."""
        return self._link or link_to(self.redis_url, self.redis_options)

    def linked(self, link: Link) -> Settings:
        self._link = link
        return self

    @field_serializer("redis_url")
    def _mask(self, url: str) -> str:
        return _without_password(url)

    @field_serializer("large_bodies")
    def _mask_storage(self, where: str | None) -> str | None:
        return _shown_storage(where)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        masks = {"redis_url": _without_password, "large_bodies": _shown_storage}
        for name, value in super().__repr_args__():
            yield name, masks[name](value) if name in masks else value


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
