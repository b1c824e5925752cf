"""From a captured call to its account, by what it says of itself. Nothing here is a guess."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from batchq.errors import ConfigurationError
from batchq.settings.keyring import KeyRing
from batchq.settings.sources import fingerprint

if TYPE_CHECKING:
    from batchq.settings.account import Account

__all__ = ["OWNERS", "choose", "owner_of"]

Named = tuple[str, "Account"]

OWNERS: Mapping[str, str] = {
    "organization": "OPENAI_ORG_ID",
    "project": "OPENAI_PROJECT_ID",
}
"""Who is billed, where a key may bill several, and the variable that the SDK reads for it."""


def owner_of(account: Account, which: str) -> str | None:
    """The organization or project that an account bills, by its settings or the environment."""
    named: str | None = getattr(account, which)
    return named if named is not None else os.environ.get(OWNERS[which]) or None


def choose(
    near: list[Named], key: str, headers: Mapping[str, str], ring: KeyRing
) -> tuple[Named | None, str]:
    """Which of several accounts at one base URL a call belongs to, or else why none.

    Its key decides; where that is nobody's, or that of several, its organization, its project and
    the headers that an account is known by do.
    """
    same_key, told = _with_key(near, key, ring)
    if len(same_key) == 1:
        return same_key[0], ""
    found = _as_named(same_key or near, headers, must_name=not same_key)
    if len(found) == 1 or (same_key and found and _is_one_owner(found)):
        return found[0], ""
    if same_key:
        return None, _several(same_key)
    return None, _why_unknown(key, told)


def _with_key(near: list[Named], key: str, ring: KeyRing) -> tuple[list[Named], list[str]]:
    """The accounts whose key it is, or was; read anew where it is nobody's yet."""
    known = [one for one in near if ring.fits(one[0], key)]
    if known:
        return known, []
    told = [ring.learn(name, account) for name, account in near]
    return [one for one in near if ring.fits(one[0], key)], told


def _as_named(pool: list[Named], headers: Mapping[str, str], *, must_name: bool) -> list[Named]:
    """Those whose organization, project and headers the call carries, the most of them.

    With ``must_name`` an account that has none of these is not among them.
    """
    shared = {name: _shared(account, headers) for name, account in pool}
    most = max((count for count in shared.values() if count is not None), default=0)
    if must_name and not most:
        return []
    return [one for one in pool if shared[one[0]] == most]


def _shared(account: Account, headers: Mapping[str, str]) -> int | None:
    """How many traits of its own the call shares; None where it lacks one, or has another owner."""
    carried = {name.lower(): value for name, value in headers.items()}
    owners = {f"openai-{which}": owner_of(account, which) for which in OWNERS}
    if any(carried.get(name) != value for name, value in owners.items()):
        return None
    own = _headers_of(account)
    if any(carried.get(name) != value for name, value in own.items()):
        return None
    return len(own) + sum(getattr(account, which) is not None for which in OWNERS)


def _headers_of(account: Account) -> dict[str, str]:
    try:
        return account.read_headers()
    except ConfigurationError:
        return {}  # Who cannot be read is told apart by what else there is.


def _is_one_owner(found: Iterable[Named]) -> bool:
    """True where it is the same for everybody which is taken: they differ in limits, say."""
    return len({_owner(account) for _, account in found}) == 1


def _owner(account: Account) -> tuple[object, ...]:
    billed = tuple(owner_of(account, which) for which in OWNERS)
    return account.key_source, *billed, tuple(sorted(account.headers.items()))


def _several(same_key: list[Named]) -> str:
    names = ", ".join(repr(name) for name, _ in same_key)
    return (
        f"its base URL and its key are those of the accounts {names}, and nothing says which: give "
        "the client the organization, the project or the headers that its account has"
    )


def _why_unknown(key: str, told: list[str]) -> str:
    borne = f"its key (fingerprint {fingerprint(key)}) is not" if key else "it bears no key"
    return (
        f"its base URL is configured, {borne}: "
        + "; ".join(told)
        + ". Give the client that account's key, organization, project or headers, or add an "
        "account to batchq_accounts with the same base_url and the place the client's key comes "
        "from as api_key"
    )
