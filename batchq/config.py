"""Settings: read once per app, checked at once, and explaining themselves.

`settings(app)` gives one frozen object for everything an app sets under ``batchq_*``.
Keys of provider accounts are never in it: an `Account` holds where its key comes from.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

from celery.schedules import BaseSchedule, crontab, schedule
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_serializer,
    model_validator,
)

from batchq.errors import ConfigurationError, UnknownAccount

if TYPE_CHECKING:
    from celery import Celery

    App = Celery[Any]

PREFIX = "batchq_"

BATCH_ENDPOINTS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/edits",
        "/v1/images/generations",
        "/v1/moderations",
        "/v1/responses",
        "/v1/videos",
    }
)


class _Record(BaseModel):
    """Frozen, and refusing names it does not know in words that never repeat a value.

    A value given under a wrong name may well be a key.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)
    _what: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _known_names_only(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name in cast("dict[str, object]", given):
                if name not in cls.model_fields:
                    raise _unknown_name(name, cls.model_fields, cls._what)
        return cast("object", given)


def _unknown_name(name: str, known: Iterable[str], what: str) -> ConfigurationError:
    return ConfigurationError(name, None, f"there is no {what} of that name", _nearest(name, known))


def _nearest(name: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return close[0] if close else None


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


def _maybe_seconds(value: object) -> timedelta | None:
    return None if value is None else _seconds(value)


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
PositiveDuration = Annotated[timedelta, BeforeValidator(_some_seconds)]

# Times of the day

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
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
}
_REDIS_URLS = (
    "accepted is redis://host:port/db, rediss://…, unix:///path?db=0 or redis+socket:///path"
)


def _is_redis(url: object) -> bool:
    return isinstance(url, str) and url.partition("://")[0].lower() in _REDIS_SCHEMES


def _redis_url(url: str) -> str:
    """The URL redis-py wants for a URL as Celery or kombu writes it."""
    from redis import ConnectionPool

    if not _is_redis(url):
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
    resolved = f"{scheme}://{parts.netloc}{parts.path}{tail}"
    try:
        # Connects to nothing yet.
        ConnectionPool.from_url(resolved)  # pyright: ignore[reportUnknownMemberType]
    except ValueError:
        # The error of urllib quotes pieces of the URL, and a password may be one.
        raise ValueError(_REDIS_URLS) from None
    return resolved


def _own_redis(app: App) -> str:
    """The Redis the app uses already, for results or as its broker."""
    for url in (app.conf.result_backend, app.conf.broker_url):
        given = cast("object", url)
        urls = given.split(";") if isinstance(given, str) else given
        for one in cast("list[object]", urls) if isinstance(urls, (list, tuple)) else []:
            if _is_redis(one):
                return cast("str", one)
    raise ConfigurationError(
        "batchq_redis_url",
        None,
        "neither result_backend nor broker_url is a Redis, so say where the journal is kept; "
        + _REDIS_URLS,
    )


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}:***@{host}" if at else parts.netloc
    query = re.sub(r"(password=)[^&]*", r"\1***", parts.query)
    return f"{parts.scheme}://{netloc}{parts.path}{'?' + query if query else ''}"


# Accounts


class Limits(_Record):
    """What the provider takes: of one file, and of prompts waiting at the same time."""

    _what: ClassVar[str] = "limit"

    lines: PositiveInt = 50_000
    bytes: PositiveInt = 190_000_000
    embedding_inputs: PositiveInt = 50_000
    enqueued_tokens: PositiveInt | dict[str, PositiveInt] | None = None


_KEY_SOURCES = (
    'accepted is where the key comes from: "env:NAME", "file:/path" or '
    '"call:package.module:function"; the key itself is not accepted here, so that it cannot '
    "reach a log, a message or a page"
)
_KEY_SOURCE = re.compile(r"env:[A-Za-z_]\w*|file:/.+|call:[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
_OPENAI = "https://api.openai.com/v1"


def _key_source(value: object) -> str:
    if isinstance(value, str) and _KEY_SOURCE.fullmatch(value):
        return value
    # Not a ValueError: pydantic would keep the value, which may be a key, in its own error.
    raise ConfigurationError("api_key", None, _KEY_SOURCES)


def _base_url(value: object) -> str:
    if isinstance(value, str):
        parts = urlsplit(value.strip())
        plain = parts.username is None and not parts.query and not parts.fragment
        if parts.scheme in ("http", "https") and parts.hostname and plain:
            return urlunsplit(parts).rstrip("/")
    raise ConfigurationError(
        "base_url", None, "accepted is http(s)://host[:port][/path], with no user, query or key"
    )


class Account(_Record):
    """One account at one provider: where it is, and where its key comes from.

    Left out, `base_url` and `api_key` follow the environment variables the SDK reads.
    The key is read when it is needed and kept nowhere in here.
    """

    _what: ClassVar[str] = "setting of an account"

    kind: Literal["openai", "azure"] = "openai"
    base_url: Annotated[str, BeforeValidator(_base_url)] = ""
    api_key: Annotated[str, BeforeValidator(_key_source)] = ""
    api_version: str | None = None
    organization: str | None = None
    project: str | None = None
    limits: Limits = Limits()

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        values = dict(cast("dict[str, object]", given))
        azure = values.get("kind") == "azure"
        if values.get("base_url") is None:
            values["base_url"] = _azure_endpoint() if azure else _openai_endpoint()
        if values.get("api_key") is None:
            values["api_key"] = "env:AZURE_OPENAI_API_KEY" if azure else "env:OPENAI_API_KEY"
        if azure:
            values["base_url"] = _resource(values["base_url"])
            if values.get("api_version") is None:
                values["api_version"] = os.environ.get("OPENAI_API_VERSION") or None
        return values

    def key(self) -> str:
        """The key as it is now; keep it out of everything that is stored or shown."""
        kind, _, where = self.api_key.partition(":")
        try:
            key: object = _READ_KEY[kind](where)
        except (OSError, UnicodeDecodeError) as error:
            raise self._no_key(type(error).__name__) from None
        if not isinstance(key, str) or not key.strip():
            raise self._no_key("nothing there")
        return key.strip()

    def _no_key(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            "api_key", repr(self.api_key), f"no key can be read from it ({why})"
        )

    def matches(self, url: str) -> bool:
        """True where `url` is under this account's base URL."""
        return self._rest_of(url) is not None

    def endpoint_of(self, url: str) -> str | None:
        """What a batch line has to say for a request to `url`; None where no batch can take it."""
        rest = self._rest_of(url)
        if rest is None:
            return None
        if self.kind == "azure":
            rest = re.sub(r"^/openai(/v1|/deployments/[^/]+)?(?=/)", "", rest)
        endpoint = f"/v1{rest}"
        return endpoint if endpoint in BATCH_ENDPOINTS else None

    def _rest_of(self, url: str) -> str | None:
        base, parts = urlsplit(self.base_url), urlsplit(url)
        if _origin(base) != _origin(parts):
            return None
        rest = parts.path.removeprefix(base.path)
        inside = parts.path.startswith(base.path) and rest[:1] in ("", "/")
        return rest.rstrip("/") if inside else None


def _openai_endpoint() -> str:
    return os.environ.get("OPENAI_BASE_URL") or _OPENAI


def _azure_endpoint() -> str:
    endpoint = os.environ.get("AZURE_OPENAI_ENDPOINT")
    if not endpoint:
        raise ConfigurationError(
            "base_url",
            None,
            "an azure account needs its resource URL, https://NAME.openai.azure.com, here "
            "or in AZURE_OPENAI_ENDPOINT",
        )
    return endpoint


def _resource(url: object) -> object:
    """An Azure resource URL without the /openai or /openai/v1 that some clients put behind it."""
    return re.sub(r"/openai(/v1)?/?$", "", url) if isinstance(url, str) else url


def _origin(parts: Any) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _key_from_environment(name: str) -> str | None:
    return os.environ.get(name)


def _key_from_file(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _key_from_call(target: str) -> object:
    module, _, function = target.partition(":")
    try:
        return getattr(importlib.import_module(module), function)()
    except Exception as error:  # noqa: BLE001 a user's function raises what it likes
        # The name of the error only: its text comes from a vault's client and may hold anything.
        raise ConfigurationError(
            "api_key", repr(f"call:{target}"), f"the call failed ({type(error).__name__})"
        ) from None


_READ_KEY: Mapping[str, Any] = {
    "env": _key_from_environment,
    "file": _key_from_file,
    "call": _key_from_call,
}


def fingerprint(key: str) -> str:
    """Tells two keys apart without showing either."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


class Accounts(Mapping[str, Account]):
    """The configured accounts by name, and the way from a captured call to its account."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = dict(accounts)
        self._seen: dict[str, str] = {}

    def __getitem__(self, name: str) -> Account:
        try:
            return self._accounts[name]
        except KeyError:
            close = difflib.get_close_matches(name, list(self._accounts), n=1)
            raise ConfigurationError(
                "batchq_accounts",
                None,
                f"there is no account {name!r}; work that was asked under it needs it back",
                repr(close[0]) if close else None,
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._accounts

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    def __repr__(self) -> str:
        return f"Accounts({self._accounts!r})"

    def match(self, url: str, key: str) -> tuple[str, Account]:
        """The account a call to `url` with `key` belongs to.

        The most specific base URL goes first; of several accounts with one base URL the key
        decides, and of several with one key too, the first in the settings.
        Raises UnknownAccount, which says what to configure.
        """
        under = [(name, account) for name, account in self.items() if account.matches(url)]
        under.sort(key=lambda named: -len(named[1].base_url))
        wanted = fingerprint(key)
        keys: list[str] = []
        for name, account in under:
            if self._seen.get(name) == wanted:
                return name, account
            try:
                self._seen[name] = fingerprint(account.key())
            except ConfigurationError as error:
                keys.append(f"of account {name!r}, {str(error).rstrip('.')}")
                continue
            if self._seen[name] == wanted:
                return name, account
            keys.append(
                f"account {name!r} has the key {self._seen[name]} (from {account.api_key!r})"
            )
        raise UnknownAccount(_client_base(url), _why_unknown(url, wanted, keys), list(self))


def _why_unknown(url: str, wanted: str, keys: list[str]) -> str:
    if keys:
        return (
            f"its base URL is configured, its key (fingerprint {wanted}) is not: "
            + "; ".join(keys)
            + ". Give the client that account's key, or add an account to batchq_accounts with "
            "the same base_url and the place the client's key comes from as api_key"
        )
    example = f'{{"base_url": "{_client_base(url)}", "api_key": "env:NAME_OF_ITS_KEY"}}'
    return f"no account has that base URL; add one to batchq_accounts, such as {example}"


def _client_base(url: str) -> str:
    """The base URL a client must have had to make a request to `url`; no query, no user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = parts.path.rstrip("/")
    for endpoint in sorted(BATCH_ENDPOINTS, key=len, reverse=True):
        path = path.removesuffix(endpoint.removeprefix("/v1"))
    return urlunsplit((parts.scheme, host, path, "", ""))


_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _accounts(value: object) -> Accounts:
    if isinstance(value, Accounts):
        return value
    if not isinstance(value, Mapping) or not value:
        raise ConfigurationError(
            "accounts", None, 'accepted is a dict of accounts by name, such as {"default": {…}}'
        )
    return Accounts(
        {
            cast("str", name): _account(name, account)
            for name, account in cast("Mapping[object, object]", value).items()
        }
    )


def _account(name: object, given: object) -> Account:
    if not isinstance(name, str) or not _ACCOUNT_NAME.fullmatch(name):
        raise ConfigurationError(
            "accounts", repr(name), "accepted as a name are up to 64 of A-Z a-z 0-9 _ . -"
        )
    where = f"accounts[{name!r}]"
    try:
        return Account.model_validate(given)
    except ConfigurationError as error:
        setting = f"{where}.{error.setting}"
        raise ConfigurationError(setting, error.given, error.expected, error.nearest) from None
    except ValidationError as error:
        raise _explain(error, where + ".", show=False) from None


# Settings


class Settings(_Record):
    """Everything set under ``batchq_*``; docs/configuration.md says what each is for.

    Printing or dumping it masks the password in `redis_url`.
    """

    _what: ClassVar[str] = "setting"

    redis_url: Annotated[str, BeforeValidator(_redis_url)]
    key_prefix: str = Field("batchq", pattern=r"^[A-Za-z0-9_.:-]+$")
    queue: str = Field("batchq", min_length=1)
    accounts: Annotated[
        Accounts,
        BeforeValidator(_accounts),
        PlainSerializer(lambda accounts: {n: a.model_dump() for n, a in accounts.items()}),
    ] = Field(default_factory=lambda: Accounts({"default": Account()}))
    flush_after: Annotated[timedelta | None, BeforeValidator(_maybe_seconds)] = timedelta(
        minutes=15
    )
    flush_prompts: PositiveInt = 10_000
    flush_at: Annotated[
        tuple[BaseSchedule, ...],
        BeforeValidator(_schedules),
        PlainSerializer(lambda schedules: [repr(one) for one in schedules]),
    ] = ()
    tick: PositiveDuration = timedelta(seconds=5)
    max_attempts: PositiveInt = 3
    poll_first: PositiveDuration = timedelta(seconds=5)
    poll_longest: PositiveDuration = timedelta(minutes=5)
    lease: PositiveDuration = timedelta(seconds=15)
    batch_lease: PositiveDuration = timedelta(minutes=2)
    batch_deadline: PositiveDuration = timedelta(hours=26)
    create_grace: Duration = timedelta(seconds=90)
    files_grace: Duration = timedelta(minutes=10)
    keep_journal: PositiveDuration = timedelta(days=14)
    keep_done: PositiveDuration = timedelta(days=1)
    keep_batches: PositiveDuration = timedelta(days=7)
    delete_files: bool = True
    file_expiry: Annotated[timedelta | None, BeforeValidator(_file_life)] = timedelta(days=14)
    strict: bool = False

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
        return self

    def _not_longer(self, shorter: str, longer: str, why: str) -> None:
        if getattr(self, shorter) > getattr(self, longer):
            raise ConfigurationError(
                PREFIX + shorter,
                str(getattr(self, shorter)),
                f"accepted is at most {PREFIX}{longer} = {getattr(self, longer)}: {why}",
            )

    @field_serializer("redis_url")
    def _mask(self, url: str) -> str:
        return _without_password(url)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _without_password(value) if name == "redis_url" else value


_read: WeakKeyDictionary[App, Settings] = WeakKeyDictionary()


def settings(app: App) -> Settings:
    """The settings of `app`, read from its configuration the first time and kept.

    Raises ConfigurationError, which names the setting, what was given and what is accepted.
    """
    # current_app is a stand-in, the same one whatever the app behind it.
    app = getattr(app, "_get_current_object", lambda: app)()
    if app not in _read:
        _read[app] = _settings_of(app)
    return _read[app]


def _settings_of(app: App) -> Settings:
    given = _given(app)
    if given.get("redis_url") is None:
        given["redis_url"] = _own_redis(app)
    try:
        return Settings.model_validate(given, context={"app": app})
    except ConfigurationError as error:
        if error.setting.startswith(PREFIX):
            raise
        setting = PREFIX + error.setting
        raise ConfigurationError(setting, error.given, error.expected, error.nearest) from None
    except ValidationError as error:
        raise _explain(error, PREFIX, show=True) from None


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
            close = _nearest(field, Settings.model_fields)
            nearest = None if close is None else _spelled(close, namespace)
            raise ConfigurationError(name, None, "there is no setting of that name", nearest)
        found[field] = app.conf.get(PREFIX + field)
    return found


def _spelled(field: str, namespace: str) -> str:
    """The name as Celery looks it up: CELERY_BATCHQ_TICK in the namespace CELERY."""
    name = PREFIX + field
    if not namespace:
        return name
    return f"{namespace}_{name.upper() if namespace.isupper() else name}"


def _explain(error: ValidationError, prefix: str, *, show: bool) -> ConfigurationError:
    """The first complaint of pydantic, in our words; `show` repeats the value that was given."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    hidden = not show or first["loc"][:1] in [("accounts",), ("redis_url",)]
    given = None if hidden else repr(first["input"])
    expected = first["msg"].removeprefix("Value error, ").replace("Input should be", "accepted is")
    return ConfigurationError((prefix + path).rstrip("."), given, expected)
