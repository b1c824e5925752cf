"""Whose a key is: told by what the accounts' keys are, and were, without keeping any of them."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, cast

from batchq.errors import ConfigurationError
from batchq.settings.sources import fingerprint

if TYPE_CHECKING:
    from batchq.settings.account import Account

__all__ = ["KeyRing"]


def marks(key: str) -> frozenset[str]:
    """By what a key is known: itself, and for a token, which changes each hour, whose it is."""
    holder = _holder(key)
    return frozenset({fingerprint(key)} | ({f"of {fingerprint(holder)}"} if holder else set()))


_WHO = ("iss", "tid", "sub", "oid", "appid", "azp", "client_id")
"""The claims that say who holds a token (RFC 7519 and RFC 9068; `tid`, `oid`, `appid`: Entra)."""


def _holder(token: str) -> str:
    """Who a JSON Web Token was given to; nothing where it is none, or does not say."""
    claims = _claims(token)
    said = {name: claims[name] for name in _WHO if isinstance(claims.get(name), str)}
    return json.dumps(said, sort_keys=True) if said.keys() - {"iss", "tid"} else ""


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != _PARTS_OF_A_TOKEN:
        return {}
    try:
        # Nobody is let in by it, so its signature is not looked at.
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", claims) if isinstance(claims, dict) else {}


_PARTS_OF_A_TOKEN = 3


class KeyRing:
    """The marks of all keys that each account is known to have had in this process.

    A client made before a key was rotated still bears the old one.
    """

    def __init__(self) -> None:
        self._marks: defaultdict[str, set[str]] = defaultdict(set)

    def fits(self, name: str, key: str) -> bool:
        """True where ``key`` is, or was, that of the account, as far as it has been read."""
        return bool(key) and not self._marks[name].isdisjoint(marks(key))

    def knows(self, name: str) -> bool:
        """True where a key of the account has been read here."""
        return bool(self._marks[name])

    def learn(self, name: str, account: Account) -> str:
        """Read the account's key as it is now; gives what there is to say of it."""
        if not account.has_key:
            return f"account {name!r} has a client of its own, whose key is not known"
        try:
            key = account.key()
        except ConfigurationError as error:
            return f"of account {name!r}, {str(error).rstrip('.')}"
        self._marks[name] |= marks(key)
        return f"account {name!r} has the key {fingerprint(key)} (from {account.key_source!r})"
