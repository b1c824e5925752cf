"""Pauses of accounts: why nothing more of one is sent just now, and how that ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Literal, cast

from batchq.common.troubles import REASONS, Trouble, TroubleReason
from batchq.journal.records import AccountPause
from batchq.journal.replies import count_of, milliseconds, replies_of
from batchq.journal.scripts import arguments
from batchq.journal.store import Store
from batchq.prompt import Lane

__all__ = ["Pauses"]

_WELL = timedelta(hours=1)
"""For how long an account that went on counts as well."""


class Pauses:
    """Which accounts are paused. One hash for each, gone when the account goes on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key

    def begin(
        self,
        lane: Lane,
        trouble: Trouble,
        *,
        batch: str,
        met_in: str,
        pauses: tuple[timedelta, timedelta],
        anew: bool = False,
    ) -> Literal["BEGUN", "GROWN", "ALREADY"]:
        """Let nothing more of a lane's account be sent: a batch has met a trouble of the account.

        ``pauses`` are the first and the longest. Only the small batch that tries whether it is over
        makes one grow; ``anew`` where that got on before it met the same.
        """
        first, longest = map(milliseconds, pauses)
        args = arguments(
            batch=batch,
            lane=lane.name,
            reason=trouble.reason,
            code=trouble.code,
            met_in=met_in,
            first=first,
            longest=longest,
            anew=anew,
            keep=self._store.keep_journal,
        )
        word = self._store.word("pause", [self._paused(lane.account)], args)
        return cast("Literal['BEGUN', 'GROWN', 'ALREADY']", word)

    def take_probe(self, pause: AccountPause, batch_id: str) -> bool:
        """True where this batch, which is still to be sealed, is the one to try whether a paused
        account can go on; false while another does, or it is too early.
        """
        last = self._store.batch_keys(pause.probe or batch_id)[0]
        keys, args = (
            [self._paused(pause.account), last],
            arguments(batch=batch_id, last=pause.probe),
        )
        return self._store.word("probe", keys, args) == "TAKEN"

    def end(self, account: str, *, probe: str = "") -> int | None:
        """Let an account go on; with ``probe`` only where that is the batch that tried. Returns
        since when it was paused, None where it was not.
        """
        keys = [self._paused(account), self._well(account)]
        args = arguments(probe=probe or None, keep=milliseconds(_WELL))
        word, since = self._store.run("unpause", keys, args)
        return count_of(since) if word == b"ENDED" else None

    def was_well(self, account: str) -> bool:
        """True where an account went on lately: what fails now is not likely the account's."""
        return bool(self._redis.exists(self._well(account)))

    def get(self, account: str) -> AccountPause | None:
        """Why an account is paused; None where it is not."""
        return self.among([account]).get(account)

    def among(self, accounts: Iterable[str]) -> dict[str, AccountPause]:
        """Those of these accounts that are paused, with why."""
        names = sorted(set(accounts))
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.hgetall(self._paused(name))
        replies = replies_of(pipe) if names else []
        now = self._store.now() if any(replies) else 0
        found = (_read(name, reply, now) for name, reply in zip(names, replies, strict=True))
        return {pause.account: pause for pause in found if pause is not None}

    def _paused(self, account: str) -> str:
        return self._key("account", account)

    def _well(self, account: str) -> str:
        return self._key("well", account)


def _read(account: str, reply: object, now: int) -> AccountPause | None:
    """A pause; what is none, or has no end that can be read, stops nobody."""
    if not isinstance(reply, Mapping):
        return None
    known = cast("Mapping[bytes, bytes]", reply)
    until, since = (count_of(known.get(name)) for name in (b"until", b"since"))
    if not until:
        return None
    words = {
        name: known.get(name.encode(), b"").decode(errors="replace")
        for name in ("reason", "code", "met_in", "lane", "probe")
    }
    return AccountPause(
        account=account,
        reason=_reason(words.pop("reason")),
        tries=count_of(known.get(b"tries")),
        since=since,
        lasted=timedelta(milliseconds=max(0, now - since)),
        next_try=timedelta(milliseconds=max(0, until - now)),
        **words,
    )


def _reason(word: str) -> TroubleReason:
    return _REASONS.get(word, "unknown")


_REASONS: Mapping[str, TroubleReason] = {one: one for one in REASONS}
