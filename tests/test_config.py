"""Settings explain themselves, and keys stay where they are."""

from __future__ import annotations

import copy
import json
import pickle
import re
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery, current_app
from celery.schedules import crontab, schedule

from batchq.errors import (
    BatchqError,
    ConfigurationError,
    ProviderNotFound,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnauthorized,
    ProviderUnclear,
    UnknownAccount,
)
from batchq.settings.account import Account
from batchq.settings.accounts import Accounts
from batchq.settings.config import settings
from batchq.settings.limits import Limits
from batchq.settings.record import Settings
from batchq.settings.sources import fingerprint

CANARY = "sk-canary-4815162342"
REDIS = "redis://redis.internal:6379/1"
CHAT = "/chat/completions"
DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"


def app_with(**conf: Any) -> Celery:
    app = Celery(set_as_current=False, broker="amqp://")
    app.conf.update({"batchq_redis_url": REDIS} | conf)
    return app


def read(**conf: Any) -> Settings:
    return settings(app_with(**conf))


def refused(**conf: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(**conf)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert CANARY not in repr(caught.value.args)
    return str(caught.value)


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "OPENAI_API_VERSION",
        "AZURE_OPENAI_ENDPOINT",
        "AZURE_OPENAI_API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


class TestReading:
    def test_defaults_need_nothing_but_a_redis(self) -> None:
        read_settings = settings(Celery(set_as_current=False, broker=REDIS))
        assert read_settings.redis_url == REDIS
        assert read_settings.flush_after == timedelta(minutes=15)
        assert list(read_settings.accounts) == ["default"]

    def test_they_are_read_once_per_app(self) -> None:
        app, other = app_with(batchq_tick=1), app_with(batchq_tick=2)
        assert settings(app) is settings(app)
        app.conf.batchq_tick = 3
        assert settings(app).tick == timedelta(seconds=1)
        assert settings(other).tick == timedelta(seconds=2)

    def test_current_app_is_the_app_behind_it(self) -> None:
        """The stand-in is one object for every app, and must not be what is remembered."""
        before = current_app._get_current_object()  # type: ignore[attr-defined]
        try:
            first, second = app_with(batchq_queue="first"), app_with(batchq_queue="second")
            first.set_current()
            assert settings(current_app).queue == "first"
            second.set_current()
            assert settings(current_app).queue == "second"
        finally:
            before.set_current()

    @pytest.mark.parametrize(
        ("namespace", "names"),
        [
            (None, {"batchq_tick": 9, "batchq_redis_url": REDIS}),
            ("CELERY", {"CELERY_BATCHQ_TICK": 9, "CELERY_BATCHQ_REDIS_URL": REDIS}),
            ("celery", {"celery_batchq_tick": 9, "celery_batchq_redis_url": REDIS}),
        ],
    )
    def test_a_namespace_goes_in_front(
        self, monkeypatch: pytest.MonkeyPatch, namespace: str | None, names: dict[str, Any]
    ) -> None:
        assert settings(configured(monkeypatch, namespace, names)).tick == timedelta(seconds=9)

    def test_settings_are_frozen(self) -> None:
        with pytest.raises(Exception, match="frozen"):
            read().tick = timedelta(0)

    def test_settings_survive_a_copy(self) -> None:
        assert copy.deepcopy(read(batchq_tick=3)).tick == timedelta(seconds=3)


def configured(
    monkeypatch: pytest.MonkeyPatch, namespace: str | None, names: dict[str, Any]
) -> Celery:
    module = ModuleType("configured")
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, "configured", module)
    app = Celery(set_as_current=False)
    app.config_from_object("configured", namespace=namespace)
    return app


class TestUnknownNames:
    def test_the_nearest_name_is_offered(self) -> None:
        assert refused(batchq_flush_aftr=3) == (
            "batchq_flush_aftr: there is no setting of that name. Did you mean batchq_flush_after?"
        )

    def test_nothing_is_offered_for_a_name_like_no_other(self) -> None:
        assert refused(batchq_zzz=3) == "batchq_zzz: there is no setting of that name."

    def test_an_upper_case_name_is_never_looked_up_without_a_namespace(self) -> None:
        assert refused(BATCHQ_TICK=3).endswith("Did you mean batchq_tick?")

    @pytest.mark.parametrize("name", ["CELERY_BATCHQ_TIK", "BATCHQ_TICK"])
    def test_in_a_namespace_the_whole_name_is_offered(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Django's settings take BATCHQ_TICK silently, and Celery never looks at it."""
        app = configured(monkeypatch, "CELERY", {name: 3, "CELERY_BATCHQ_REDIS_URL": REDIS})
        with pytest.raises(ConfigurationError, match=r"Did you mean CELERY_BATCHQ_TICK\?"):
            settings(app)

    def test_inside_an_account_and_its_limits(self) -> None:
        assert refused(batchq_accounts={"a": {"apikey": CANARY}}) == (
            "batchq_accounts['a'].apikey: there is no setting of an account of that name. "
            "Did you mean api_key?"
        )
        assert "Did you mean lines?" in refused(batchq_accounts={"a": {"limits": {"line": 3}}})


class TestDurations:
    @pytest.mark.parametrize("given", [90, 90.0, timedelta(seconds=90)])
    def test_seconds_or_a_timedelta(self, given: object) -> None:
        assert read(batchq_flush_after=given).flush_after == timedelta(seconds=90)

    @pytest.mark.parametrize("name", ["flush_after", "create_grace", "files_grace"])
    def test_zero_is_a_value(self, name: str) -> None:
        assert getattr(read(**{f"batchq_{name}": 0}), name) == timedelta(0)

    def test_none_turns_flushing_by_age_off(self) -> None:
        assert read(batchq_flush_after=None).flush_after is None

    @pytest.mark.parametrize(
        "name",
        [
            *("tick", "poll_first", "poll_longest", "lease", "batch_deadline"),
            *("keep_journal", "keep_done", "keep_batches"),
        ],
    )
    def test_zero_is_refused_where_it_would_spin_or_forget(self, name: str) -> None:
        assert refused(**{f"batchq_{name}": 0}) == (
            f"batchq_{name} = 0: accepted is a number of seconds, or a timedelta, more than 0."
        )

    @pytest.mark.parametrize(
        "given", [-1, timedelta(seconds=-1), "15 min", "PT15M", "900", True, float("nan")]
    )
    def test_anything_else_is_refused(self, given: object) -> None:
        assert refused(batchq_flush_after=given) == (
            f"batchq_flush_after = {given!r}: "
            "accepted is a number of seconds, or a timedelta, 0 or more."
        )

    @pytest.mark.parametrize("given", [0, 3599, timedelta(days=31)])
    def test_files_live_as_long_as_the_provider_allows(self, given: object) -> None:
        assert "1 hour to 30 days" in refused(batchq_file_expiry=given)

    def test_file_expiry_may_be_left_to_the_provider(self) -> None:
        assert read(batchq_file_expiry=None).file_expiry is None


class TestHeaders:
    def test_names_are_taken_in_any_case(self) -> None:
        given = ["X-Team", "Helicone-*"]
        assert read(batchq_ignore_headers=given).ignore_headers == ("x-team", "helicone-*")
        assert read(batchq_ignore_headers=[]).ignore_headers == ()
        assert read(batchq_ignore_headers=None).ignore_headers == ()

    @pytest.mark.parametrize("given", ["x-team", ["x team"], [""], ["*"], [7], 7, ["a*b"]])
    def test_what_names_no_header_is_refused(self, given: object) -> None:
        assert "a list of names of headers" in refused(batchq_ignore_headers=given)


class TestNumbers:
    @pytest.mark.parametrize("name", ["flush_prompts", "max_attempts"])
    @pytest.mark.parametrize("given", [0, -1, "many"])
    def test_counts_are_at_least_one(self, name: str, given: object) -> None:
        assert f"batchq_{name} = {given!r}: " in refused(**{f"batchq_{name}": given})

    @pytest.mark.parametrize("name", ["lines", "bytes", "embedding_inputs", "enqueued_tokens"])
    def test_a_limit_of_zero_would_hold_everything_for_ever(self, name: str) -> None:
        said = refused(batchq_accounts={"a": {"limits": {name: 0}}})
        assert f"batchq_accounts['a'].limits.{name}" in said
        assert "greater than 0" in said

    def test_tokens_may_be_limited_by_model(self) -> None:
        limits = Limits(enqueued_tokens={"gpt-5.6-luna": 2_000_000})
        account = read(batchq_accounts={"default": {"limits": limits}}).accounts["default"]
        assert account.limits.enqueued_tokens == {"gpt-5.6-luna": 2_000_000}

    @pytest.mark.parametrize("prefix", ["", "{mine}", "a b"])
    def test_a_prefix_cannot_break_the_hash_tag(self, prefix: str) -> None:
        assert "batchq_key_prefix" in refused(batchq_key_prefix=prefix)


class TestTogether:
    def test_polls_cannot_start_slower_than_they_end(self) -> None:
        assert refused(batchq_poll_longest=1) == (
            "batchq_poll_first = 0:00:05: accepted is at most batchq_poll_longest = 0:00:01: "
            "the pause between polls grows to it."
        )
        assert read(batchq_poll_first=1, batchq_poll_longest=1).poll_first.seconds == 1

    def test_a_journal_outlives_its_batch(self) -> None:
        assert "batchq_keep_journal" in refused(batchq_keep_journal=3600)

    def test_files_outlive_their_batch(self) -> None:
        assert "batchq_file_expiry" in refused(batchq_file_expiry=3600)


class TestTimes:
    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ("02:30", crontab(hour=2, minute=30)),
            ("at 02:00", crontab(hour=2, minute=0)),
            ("0:00", crontab(hour=0, minute=0)),
            ("every 2 hours", crontab(minute=0, hour="*/2")),
            ("every hour", crontab(minute=0, hour="*")),
            ("every 15 minutes", crontab(minute="*/15")),
            ("every 1 minute", crontab(minute="*")),
            ("every 90 minutes", schedule(timedelta(minutes=90))),
            ("every 5 hours", schedule(timedelta(hours=5))),
            ("30 2 * * 1-5", crontab(hour=2, minute=30, day_of_week="1-5")),
            (crontab(hour=4), crontab(hour=4)),
        ],
    )
    def test_each_form(self, given: object, meant: object) -> None:
        assert read(batchq_flush_at=given).flush_at == (meant,)

    def test_a_list_of_them(self) -> None:
        assert read(batchq_flush_at=["02:30", "14:30"]).flush_at == (
            crontab(hour=2, minute=30),
            crontab(hour=14, minute=30),
        )

    def test_times_replace_the_age(self) -> None:
        assert read(batchq_flush_at="02:30").flush_after is None
        assert read(batchq_flush_at="02:30", batchq_flush_after=60).flush_after == timedelta(
            minutes=1
        )
        assert read(batchq_flush_at=None).flush_after == timedelta(minutes=15)

    def test_they_are_in_the_timezone_of_the_app(self) -> None:
        app = app_with(batchq_flush_at="02:30", timezone="Europe/Berlin")
        (at,) = settings(app).flush_at
        assert at.tz == app.timezone == ZoneInfo("Europe/Berlin")

    @pytest.mark.parametrize(
        "given", ["24:00", "2:3", "every 0 hours", "every other day", "61 * * * *", 7, ["02:30", 7]]
    )
    def test_anything_else_is_refused(self, given: object) -> None:
        assert f'batchq_flush_at = {given!r}: accepted is "HH:MM"' in refused(batchq_flush_at=given)


class TestRedis:
    @pytest.mark.parametrize(
        ("given", "for_redis"),
        [
            ("redis://:secret@host:6380/2", "redis://:secret@host:6380/2"),
            ("valkey://host/2", "redis://host/2"),
            ("rediss://host/0?ssl_cert_reqs=CERT_NONE", "rediss://host/0?ssl_cert_reqs=none"),
            ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
            ("redis+socket:///run/redis.sock?virtual_host=2", "unix:///run/redis.sock?db=2"),
            ("redis+socket:///run/redis.sock", "unix:///run/redis.sock"),
        ],
    )
    def test_each_form_becomes_the_one_redis_py_reads(self, given: str, for_redis: str) -> None:
        assert read(batchq_redis_url=given).redis_url == for_redis

    @pytest.mark.parametrize(
        ("broker", "backend", "chosen"),
        [
            ("redis://broker", "redis://results", "redis://results"),
            ("redis://broker", "rpc://", "redis://broker"),
            ("redis://broker", None, "redis://broker"),
            ("amqp://a;redis://b", None, "redis://b"),
            (["redis://a", "redis://b"], None, "redis://a;redis://b"),
            ("redis://a/1;amqp://b;redis://c", None, "redis://a/1;redis://c"),
            ("amqp://", "redis", "redis://"),
        ],
    )
    def test_left_out_it_is_the_one_celery_uses(
        self, broker: Any, backend: str | None, chosen: str
    ) -> None:
        app = Celery(set_as_current=False, broker=broker, backend=backend)
        assert settings(app).redis_url == chosen

    def test_without_any_it_says_what_to_set(self) -> None:
        said = refused(batchq_redis_url=None)
        assert said.startswith("batchq_redis_url: neither result_backend nor broker_url is a Redis")

    @pytest.mark.parametrize(
        "given", [f"amqp://:{CANARY}@host", f"redis://:x:{CANARY}@host:x", "", 7, "host:6379"]
    )
    def test_a_refused_url_is_not_repeated(self, given: object) -> None:
        assert refused(batchq_redis_url=given).startswith("batchq_redis_url: accepted is redis://")

    @pytest.mark.parametrize("url", [f"redis://me:{CANARY}@host/1", f"unix:///r?password={CANARY}"])
    def test_its_password_is_masked(self, url: str) -> None:
        read_settings = read(batchq_redis_url=url)
        assert read_settings.redis_url == url
        shown = f"{read_settings!r} {read_settings} {read_settings.model_dump()}"
        assert CANARY not in shown + read_settings.model_dump_json()
        assert "***" in shown


class TestKeys:
    @pytest.mark.parametrize(
        "given", [CANARY, f"env:{CANARY}", f"key:{CANARY}", f"file:{CANARY}", f"call:{CANARY}", 7]
    )
    def test_a_literal_key_is_refused_and_not_repeated(self, given: object) -> None:
        said = refused(batchq_accounts={"a": {"api_key": given}})
        assert said.startswith("batchq_accounts['a'].api_key: accepted is where the key comes from")
        with pytest.raises(ConfigurationError) as caught:
            Account.model_validate({"api_key": given})
        assert CANARY not in "".join(traceback.format_exception(caught.value))

    def test_a_key_in_a_wrong_place_is_not_repeated(self) -> None:
        refused(batchq_accounts={"a": CANARY})
        refused(batchq_accounts=CANARY)
        refused(batchq_accounts={"a": {"base_url": f"https://{CANARY}@host/v1"}})
        refused(batchq_accounts={"a": {"base_url": f"https://host/v1?key={CANARY}"}})
        refused(batchq_accounts={"a": {"organization": [CANARY]}})
        refused(batchq_accounts={"a": {"kind": CANARY}})

    def test_each_source(self, no_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        no_environment.setenv("SOME_KEY", CANARY)
        secret = tmp_path / "secret"
        secret.write_text(CANARY + "\n")
        vault = ModuleType("shop.vault")
        vars(vault)["key"] = lambda: CANARY
        no_environment.setitem(sys.modules, "shop", ModuleType("shop"))
        no_environment.setitem(sys.modules, "shop.vault", vault)
        for source in ("env:SOME_KEY", f"file:{secret}", "call:shop.vault:key"):
            assert Account(api_key=source).key() == CANARY

    def test_it_is_read_at_each_use(self, no_environment: pytest.MonkeyPatch) -> None:
        account = Account()
        no_environment.setenv("OPENAI_API_KEY", "first")
        assert account.key() == "first"
        no_environment.setenv("OPENAI_API_KEY", "second")
        assert account.key() == "second"

    def test_a_key_that_cannot_be_read(self, no_environment: pytest.MonkeyPatch) -> None:
        def locked() -> str:
            raise PermissionError(CANARY)

        vault = ModuleType("vault")
        vars(vault).update(locked=locked, empty=lambda: "  ", wrong=CANARY.encode)
        no_environment.setitem(sys.modules, "vault", vault)
        for source, why in [
            ("env:NOT_SET", "nothing there"),
            ("file:/not/there", "FileNotFoundError"),
            ("call:no_such_module:key", "ModuleNotFoundError"),
            ("call:vault:locked", "PermissionError"),
            ("call:vault:empty", "nothing there"),
            ("call:vault:wrong", "nothing there"),
        ]:
            with pytest.raises(ConfigurationError, match=why) as caught:
                Account(api_key=source).key()
            assert source in str(caught.value)
            assert CANARY not in "".join(traceback.format_exception(caught.value))

    def test_the_key_is_in_nothing_that_can_be_shown(
        self, no_environment: pytest.MonkeyPatch
    ) -> None:
        no_environment.setenv("OPENAI_API_KEY", CANARY)
        read_settings = read()
        account = read_settings.accounts["default"]
        assert account.key() == CANARY
        assert read_settings.accounts.match("https://api.openai.com/v1" + CHAT, CANARY)
        shown: list[object] = [account, account.model_dump(), account.model_dump_json()]
        shown += [read_settings, read_settings.model_dump(), read_settings.model_dump_json()]
        shown += [vars(account), vars(read_settings.accounts), pickle.dumps(account)]
        assert CANARY not in " ".join(f"{one} {one!r}" for one in shown)

    def test_a_fingerprint_tells_keys_apart_and_shows_none(self) -> None:
        assert fingerprint(CANARY) == fingerprint(CANARY) != fingerprint(CANARY + "x")
        assert re.fullmatch("[0-9a-f]{16}", fingerprint(CANARY))


class TestEnvironment:
    def test_openai(self, no_environment: pytest.MonkeyPatch) -> None:
        assert Account().base_url == "https://api.openai.com/v1"
        assert Account().api_key == "env:OPENAI_API_KEY"
        no_environment.setenv("OPENAI_BASE_URL", "http://proxy:4000/v1/")
        assert Account().base_url == "http://proxy:4000/v1"
        assert Account(base_url="https://other/v1").base_url == "https://other/v1"

    def test_azure(self, no_environment: pytest.MonkeyPatch) -> None:
        said = refused(batchq_accounts={"a": {"kind": "azure"}})
        assert "AZURE_OPENAI_ENDPOINT" in said
        no_environment.setenv("AZURE_OPENAI_ENDPOINT", "https://shop.openai.azure.com/")
        no_environment.setenv("OPENAI_API_VERSION", "2024-10-21")
        account = Account(kind="azure")
        assert account.base_url == "https://shop.openai.azure.com"
        assert account.api_key == "env:AZURE_OPENAI_API_KEY"
        assert account.api_version == "2024-10-21"
        no_environment.delenv("OPENAI_API_VERSION")
        assert Account(kind="azure").api_version is None

    def test_an_azure_url_may_be_the_one_of_the_v1_client(self) -> None:
        account = Account(kind="azure", base_url="https://shop.openai.azure.com/openai/v1/")
        assert account.base_url == "https://shop.openai.azure.com"

    @pytest.mark.parametrize("url", ["", "api.openai.com", "ftp://host/v1", "https:///v1", 7])
    def test_a_base_url_is_a_url(self, url: object) -> None:
        assert "base_url: accepted is http" in refused(batchq_accounts={"a": {"base_url": url}})

    @pytest.mark.parametrize("name", ["", "a b", "{a}", 7])
    def test_an_account_name_fits_into_a_key(self, name: object) -> None:
        assert "accepted as a name" in refused(batchq_accounts={name: {}})


@pytest.fixture
def accounts(no_environment: pytest.MonkeyPatch) -> Accounts:
    for name, key in [("ONE", "key-one"), ("TWO", "key-two"), ("GATE", "key-gate")]:
        no_environment.setenv(name, key)
    return Accounts(
        {
            "one": Account(api_key="env:ONE"),
            "two": Account(api_key="env:TWO"),
            "gate": Account(base_url="https://gate/team", api_key="env:GATE"),
            "inner": Account(base_url="https://gate/team/inner/v1/", api_key="env:GATE"),
        }
    )


class TestMatch:
    @pytest.mark.parametrize(
        ("url", "key", "name"),
        [
            ("https://api.openai.com/v1/chat/completions", "key-one", "one"),
            ("https://api.openai.com/v1/chat/completions", "key-two", "two"),
            ("https://API.OpenAI.com:443/v1/responses", "key-two", "two"),
            ("https://gate/team/responses", "key-gate", "gate"),
            ("https://gate/team/inner/v1/responses", "key-gate", "inner"),
        ],
    )
    def test_the_base_url_and_the_key_choose(
        self, accounts: Accounts, url: str, key: str, name: str
    ) -> None:
        assert accounts.match(url, key) == (name, accounts[name])

    @pytest.mark.parametrize(
        ("url", "base_url"),
        [
            ("https://api.openai.com/v2/chat/completions", "https://api.openai.com/v2"),
            ("https://api.openai.com/v1beta/responses?x=y", "https://api.openai.com/v1beta"),
            ("http://api.openai.com/v1/responses", "http://api.openai.com/v1"),
            ("https://me:pass@other:8443/v1/embeddings", "https://other:8443/v1"),
        ],
    )
    def test_an_unknown_base_url(self, accounts: Accounts, url: str, base_url: str) -> None:
        with pytest.raises(UnknownAccount) as caught:
            accounts.match(url, CANARY)
        said = str(caught.value)
        assert caught.value.base_url == base_url
        assert "no account has that base URL; add one to batchq_accounts" in said
        assert f'{{"base_url": "{base_url}"' in said
        assert "Configured accounts: one, two, gate, inner" in said
        assert CANARY not in said

    def test_a_known_base_url_with_an_unknown_key(self, accounts: Accounts) -> None:
        with pytest.raises(UnknownAccount) as caught:
            accounts.match("https://api.openai.com/v1" + CHAT, CANARY)
        said = str(caught.value)
        assert "its base URL is configured, its key" in said
        assert fingerprint(CANARY) in said
        assert f"account 'one' has the key {fingerprint('key-one')} (from 'env:ONE')" in said
        assert CANARY not in said
        assert "key-one" not in said

    def test_an_account_without_a_key_does_not_hide_its_neighbour(
        self, accounts: Accounts, no_environment: pytest.MonkeyPatch
    ) -> None:
        no_environment.delenv("ONE")
        assert accounts.match("https://api.openai.com/v1" + CHAT, "key-two")[0] == "two"
        with pytest.raises(UnknownAccount, match="'env:ONE': no key can be read from it"):
            accounts.match("https://api.openai.com/v1" + CHAT, CANARY)

    def test_a_rotated_key_is_noticed(
        self, accounts: Accounts, no_environment: pytest.MonkeyPatch
    ) -> None:
        url = "https://api.openai.com/v1" + CHAT
        assert accounts.match(url, "key-one")[0] == "one"
        no_environment.setenv("ONE", "key-rotated")
        assert accounts.match(url, "key-rotated")[0] == "one"

    def test_an_account_that_is_gone(self, accounts: Accounts) -> None:
        with pytest.raises(ConfigurationError, match=r"no account 'tow'.* Did you mean 'two'\?"):
            accounts["tow"]
        assert "tow" not in accounts
        assert "two" in accounts


class TestEndpoint:
    @pytest.mark.parametrize(
        ("base_url", "url", "endpoint"),
        [
            ("https://a/v1", "https://a/v1/chat/completions", "/v1/chat/completions"),
            ("https://a/v1/", "https://a/v1/responses/", "/v1/responses"),
            ("https://a/v1", "https://a/v1/embeddings?x=1", "/v1/embeddings"),
            ("https://a/openai/v1", "https://a/openai/v1/moderations", "/v1/moderations"),
            ("https://a", "https://a/chat/completions", "/v1/chat/completions"),
            ("https://a/v1", "https://a/v1/models", None),
            ("https://a/v1", "https://a/v1/chat/completions/1", None),
            ("https://a/v1", "https://b/v1/chat/completions", None),
        ],
    )
    def test_whatever_the_base_path(self, base_url: str, url: str, endpoint: str | None) -> None:
        assert Account(base_url=base_url).endpoint_of(url) == endpoint

    @pytest.mark.parametrize(
        ("path", "endpoint"),
        [
            (
                "/openai/deployments/gpt-5-6/chat/completions?api-version=1",
                "/v1/chat/completions",
            ),
            ("/openai/responses?api-version=1", "/v1/responses"),
            ("/openai/v1/responses", "/v1/responses"),
            ("/openai/deployments/gpt-5-6/audio/speech", None),
            ("/openai/files", None),
        ],
    )
    def test_azure(self, path: str, endpoint: str | None) -> None:
        account = Account(kind="azure", base_url="https://shop.openai.azure.com")
        assert account.endpoint_of("https://shop.openai.azure.com" + path) == endpoint


class TestErrors:
    @pytest.mark.parametrize(
        "error",
        [
            ConfigurationError("batchq_tick", "0", "accepted is more", "batchq_tock"),
            ConfigurationError("batchq_tick", None, "accepted is more."),
            UnknownAccount("https://a/v1", "no account has that base URL", ["one", "two"]),
            ProviderUnclear("default", "batches.create", "ReadTimeout"),
            ProviderRefused("default", "batches.cancel", 400, "too_late", "Over.", "batch_id"),
            ProviderUnauthorized("default", "files.list", 401, None, "Wrong key.", None),
            ProviderNotFound("default", "batches.retrieve", 404, None, "No batch.", None),
            ProviderThrottled("default", "batches.list", 429, "rate", "Slow down.", None, 1.5),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_celery_can_build_it_again(self, error: BatchqError) -> None:
        """From a pickle, and from the args alone after a journey through JSON."""
        for again in (
            pickle.loads(pickle.dumps(error)),  # noqa: S301 our own pickle
            type(error)(*json.loads(json.dumps(error.args))),
        ):
            assert str(again) == str(error)
            assert vars(again) == vars(error)

    def test_how_long_to_wait_is_a_duration(self) -> None:
        error = ProviderThrottled("default", "batches.create", 429, None, "Slow.", None, 1.5)
        assert error.retry_after == timedelta(seconds=1.5)
        error = ProviderThrottled("default", "batches.create", 429, None, "Slow.", None, 0)
        assert error.retry_after == timedelta(0)


class TestDocumentation:
    def test_the_table_names_every_setting_and_its_default(self) -> None:
        assert table_of("setting") == {
            f"batchq_{name}": written(name, field.default)
            for name, field in Settings.model_fields.items()
        }

    def test_the_tables_name_every_field_of_an_account_and_its_limits(self) -> None:
        assert list(table_of("field")) == list(Account.model_fields)
        assert table_of("limit") == {
            name: written(name, field.default) for name, field in Limits.model_fields.items()
        }


def table_of(heading: str) -> dict[str, str]:
    """The table whose first column has that heading: name and default."""
    _, _, table = DOCS.read_text().partition(f"| {heading} |")
    heads, _, *rows = table.partition("\n\n")[0].splitlines()
    column = [head.strip() for head in heads.split("|")].index("default") + 1
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    return {row[0].strip("`"): row[column] for row in cells}


def written(name: str, default: object) -> str:
    if name == "redis_url":
        return "the app's own Redis"
    if name == "accounts":
        return '`{"default": {}}`'
    if name in {"prices", "redis_options"}:
        return "`{}`"
    if isinstance(default, timedelta):
        return in_words(default)
    if isinstance(default, str):
        return f'`"{default}"`'
    if default == ():
        return "`None`"
    return f"`{default}`" if default is None or isinstance(default, bool) else f"{default:,}"


def in_words(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    if seconds >= 172_800 and seconds % 86_400 == 0:
        return f"{seconds // 86_400} days"
    if seconds == 86_400:
        return "1 day"
    if seconds % 3600 == 0:
        return f"{seconds // 3600} h"
    return f"{seconds // 60} min" if seconds % 60 == 0 and seconds > 60 else f"{seconds} s"
