"""The configured accounts, and whose a call is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from pydantic import ValidationError

from batchq.common.record import explain
from batchq.errors import ConfigurationError, UnknownAccount
from batchq.settings.account import Account
from batchq.settings.keyring import KeyRing
from batchq.settings.limits import BATCH_ENDPOINTS
from batchq.settings.matching import choose

__all__ = ["Accounts", "read_accounts"]


class Accounts(Mapping[str, Account]):
    """The configured accounts by name, and the way from a captured call to its account."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = dict(accounts)
        self._ring = KeyRing()

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

    def under(self, url: str) -> list[tuple[str, Account]]:
        """The accounts under whose base URL `url` is, the most specific first."""
        under = [(name, account) for name, account in self.items() if account.matches(url)]
        return sorted(under, key=lambda named: -len(named[1].base_url))

    def at(self, url: str) -> list[tuple[str, Account]]:
        """Those of them to which ``url`` is an endpoint that has a batch; where none, all under it.

        An account whose base URL is only the beginning of another's has nothing there.
        """
        under = self.under(url)
        return [one for one in under if one[1].endpoint_of(url)] or under

    def match(
        self, url: str, key: str, headers: Mapping[str, str] | None = None
    ) -> tuple[str, Account]:
        """The account a call to `url` with `key` and `headers` belongs to.

        The base URL chooses, where one account has it: a key may be a token that changes, or may
        have been rotated meanwhile. Of several accounts at one base URL the key decides, and where
        it is nobody's or several accounts', their organization, project and headers do.
        Raises UnknownAccount, which says what to configure.
        """
        near = self.at(url)
        if len(near) == 1:
            return near[0]
        found, why = choose(near, key, headers or {}, self._ring) if near else (None, "")
        if found is None:
            raise UnknownAccount(_client_base(url), why or _not_configured(url), list(self))
        return found

    def has_other_key(self, name: str, key: str) -> bool:
        """True where the key of a call is surely none that the account has had.

        Of tokens, of functions that give them and of an HTTP client that puts another in their
        place, nobody can tell.
        """
        account = self[name]
        stays = account.key_source.startswith(("env:", "file:")) and account.http_client is None
        if not key or not stays:
            return False
        if self._ring.fits(name, key):
            return False
        self._ring.learn(name, account)
        return self._ring.knows(name) and not self._ring.fits(name, key)


def _not_configured(url: str) -> str:
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


def read_accounts(value: object) -> Accounts:
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
        raise explain(error, where + ".", show=False) from None
