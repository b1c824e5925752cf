"""All settings of an app, as one frozen record: what each may be, and what fits together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, cast

from celery.schedules import BaseSchedule
from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PositiveInt,
    PrivateAttr,
    field_serializer,
    model_validator,
)

from batchq.common.record import Record
from batchq.errors import ConfigurationError
from batchq.settings.account import Account
from batchq.settings.accounts import Accounts, read_accounts
from batchq.settings.connecting import link_to
from batchq.settings.durations import (
    Duration,
    PositiveDuration,
    read_file_life,
    read_seconds_or_none,
)
from batchq.settings.links import Link
from batchq.settings.prices import OwnPrice, read_prices
from batchq.settings.redis_options import read_redis_options
from batchq.settings.redis_urls import read_redis_url, without_password
from batchq.settings.times import read_schedules
from batchq.settings.values import (
    read_dollars,
    read_header_names,
    read_secret_place,
    read_storage,
    read_switches,
    shown_storage,
)

PREFIX = "batchq_"

_AZURE_KEEPS = timedelta(days=14)
"""At the least: 1,209,600 to 2,592,000 s are taken (Azure's guide to batches, 2025-03-31)."""


class Settings(Record):
    """Everything set under ``batchq_*``; docs/configuration.md says what each is for.

    Printing or dumping it masks the password in `redis_url`.
    """

    _what: ClassVar[str] = "setting"

    redis_url: Annotated[str, BeforeValidator(read_redis_url)]
    redis_options: Annotated[
        dict[str, Any], BeforeValidator(read_redis_options), PlainSerializer(sorted)
    ] = Field(default_factory=dict[str, Any], repr=False)
    key_prefix: str = Field("batchq", pattern=r"^[A-Za-z0-9_.:-]+$")
    queue: str = Field("batchq", min_length=1)
    accounts: Annotated[
        Accounts,
        BeforeValidator(read_accounts),
        PlainSerializer(lambda accounts: {n: a.model_dump() for n, a in accounts.items()}),
    ] = Field(default_factory=lambda: Accounts({"default": Account()}))
    flush_after: Annotated[timedelta | None, BeforeValidator(read_seconds_or_none)] = timedelta(
        minutes=15
    )
    flush_prompts: PositiveInt = 10_000
    flush_bytes: PositiveInt | None = None
    flush_at: Annotated[
        tuple[BaseSchedule, ...],
        BeforeValidator(read_schedules),
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
    file_expiry: Annotated[timedelta | None, BeforeValidator(read_file_life)] = timedelta(days=14)
    strict: bool = False
    streams: bool = True
    ignore_headers: Annotated[tuple[str, ...], BeforeValidator(read_header_names)] = ()
    known_refusals: Annotated[dict[str, bool] | None, BeforeValidator(read_switches)] = None
    allow_unsafe_redis: bool = False
    installation: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    encryption: Annotated[str | None, BeforeValidator(read_secret_place)] = None
    large_bodies: Annotated[str | None, BeforeValidator(read_storage)] = None
    large_body_bytes: PositiveInt = 256_000
    show_prompts: bool = False
    prices: Annotated[dict[str, OwnPrice], BeforeValidator(read_prices)] = Field(
        default_factory=dict[str, OwnPrice]
    )
    budget: Annotated[Decimal | None, BeforeValidator(read_dollars)] = None
    notify: Annotated[str | None, BeforeValidator(read_secret_place)] = None
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
        return without_password(self.redis_url)

    @property
    def shown_large_bodies(self) -> str:
        """Where large bodies are kept, without a password, for people to read."""
        return shown_storage(self.large_bodies) or ""

    @property
    def link(self) -> Link:
        """The way to the Redis of the journal, with what Celery's own settings say of it."""
        return self._link or link_to(self.redis_url, self.redis_options)

    def linked(self, link: Link) -> Settings:
        self._link = link
        return self

    @field_serializer("redis_url")
    def _mask(self, url: str) -> str:
        return without_password(url)

    @field_serializer("large_bodies")
    def _mask_storage(self, where: str | None) -> str | None:
        return shown_storage(where)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        masks = {"redis_url": without_password, "large_bodies": shown_storage}
        for name, value in super().__repr_args__():
            yield name, masks[name](value) if name in masks else value
