"""Which headers of a call stand in the way of a batch: those that its account does not carry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from batchq.capture.http.calls import Call
from batchq.capture.http.headers import is_left_out
from batchq.capture.http.passages import added_on_the_way
from batchq.provider.client import provider_for

if TYPE_CHECKING:
    from batchq.settings.account import Account

__all__ = ["extra_headers"]


def extra_headers(call: Call, account: str) -> list[str]:
    """The names of those that change the call for all that is known.

    What its account carries as well, at the same value, goes with the batch; and what a layer of
    the client's own adds, the account's own HTTP client adds too.
    """
    settings = call.run.settings
    ignored = settings.ignore_headers
    extra = {n.lower(): v for n, v in call.headers.items() if not is_left_out(n, v, ignored)}
    if not extra:
        return []
    its = settings.accounts[account]
    own = its.read_headers()
    extra = {name: value for name, value in extra.items() if own.get(name) != value}
    if extra and _has_more(its):
        own = provider_for(settings, account).carries()
        added = added_on_the_way(call.headers) if its.client or its.http_client else ()
        extra = {n: v for n, v in extra.items() if n not in added and own.get(n) != v}
    return list(extra)


def _has_more(account: Account) -> bool:
    """True where an account's client may carry more than its settings name."""
    return bool(account.client or account.http_client or os.environ.get("OPENAI_CUSTOM_HEADERS"))
