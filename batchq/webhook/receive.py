"""Webhooks: the provider says that a batch is over, so that nobody has to wait for the next poll.

A webhook is a wake-up like any message: it is believed in nothing but that a look is worth while.
What a batch has come to is asked of the provider, by the poll that is due now.

This module imports the SDK, which takes a second: so it is not part of `import batchq`.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol

import openai
import redis

from batchq.errors import BatchqError, ConfigurationError
from batchq.flow.runner import Next, wake
from batchq.installation import installed_app
from batchq.journal import hurried, is_rubbish, journal_of
from batchq.settings.account import Account
from batchq.settings.accounts import Accounts
from batchq.settings.config import settings

__all__ = ["LARGEST", "Answer", "Headers", "Word", "handle", "readable_secrets"]

logger = logging.getLogger("batchq.webhook")

LARGEST = 1_000_000
"""Bytes of a body that are looked at. Those of the provider have two hundred."""

Word = Literal[
    "woken",
    "over",
    "repeated",
    "unknown",
    "ignored",
    "unreadable",
    "refused",
    "off",
    "oversize",
    "away",
]

_STATUS: Mapping[Word, int] = {
    # Anything else than 2xx has the provider send it again, for up to three days.
    "woken": 200,
    "over": 200,
    "repeated": 200,
    "unknown": 200,
    "ignored": 200,
    "unreadable": 400,
    "refused": 401,
    "off": 404,
    "oversize": 413,
    "away": 503,
}

_EVENTS = frozenset({"batch.completed", "batch.failed", "batch.expired", "batch.cancelled"})
_SIGNED_BY = ("webhook-id", "webhook-timestamp", "webhook-signature")
_HURRY = timedelta(seconds=0.3)
"""Three calls in a row stay below a second."""
_PROVIDER_ID = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to answer a webhook: an HTTP status, and the one word that says why.

    ========== === ================================================================
    woken      200 the batch's poll is due now
    over       200 that is known already
    repeated   200 this webhook came before
    unknown    200 the batch is none of ours, or not of the account that signs
    ignored    200 the event is none of a batch's end, or the batch was set aside
    unreadable 400 it is signed, and no event
    refused    401 it is not signed by the provider, or more than five minutes off
    off        404 there is no secret to verify it with
    oversize   413 the body is larger than `LARGEST`; nobody has looked at it
    away       503 Redis did not reply at once: the provider is to send it again
    ========== === ================================================================
    """

    status: int
    word: Word


class Headers(Protocol):
    """A mapping, or what a web framework has in its place."""

    def items(self) -> Iterable[tuple[str, str]]: ...


def handle(body: bytes, headers: Headers, *, app: Any = None) -> Answer:
    """Take one webhook, as it came: the exact bytes of its body, and its headers.

    Answers within a second, whatever Redis and the broker do, and raises nothing but
    ConfigurationError, where settings are wrong. Left out, ``app`` is the one that Batchq is
    installed on in this process.
    A webhook that comes twice has its effect once.
    """
    word = _word(body, headers, installed_app() if app is None else app)
    return Answer(status=_STATUS[word], word=word)


def _word(body: bytes, headers: Headers, app: Any) -> Word:
    if len(body) > LARGEST:
        return _refuse("oversize", "its body is too large")
    signed = {name.lower(): value for name, value in headers.items()}
    if missing := [name for name in _SIGNED_BY if not signed.get(name)]:
        return _refuse("refused", f"it has no {missing[0]}")
    config = settings(app)
    secrets = _secrets(config.accounts)
    if not secrets:
        return _refuse("off", "no account has a webhook_secret that can be read")
    accounts = _signers(secrets, body, signed)
    if not accounts:
        return "refused"
    event = _event(body)
    if event is None:
        return _refuse("unreadable", "it is signed, and no event")
    kind, provider_id = event
    if kind not in _EVENTS:
        return "ignored"
    try:
        return _tell(app, provider_id, accounts, signed["webhook-id"])
    except (redis.RedisError, OSError) as error:
        if is_rubbish(error):
            return _refuse("unknown", "what the journal holds of its batch is damaged")
        return _refuse("away", f"Redis does not reply ({type(error).__name__})")


def _refuse(word: Word, why: str) -> Word:
    logger.warning("a webhook is answered with %r: %s", word, why, extra={"action": "webhook"})
    return word


# Who has signed it


def readable_secrets(accounts: Accounts) -> int:
    """How many secrets can be read now; what is wrong with the others is in the log."""
    return len(_secrets(accounts))


def _secrets(accounts: Accounts) -> dict[str, set[str]]:
    """The accounts behind each secret: one URL may be registered in several projects."""
    found: dict[str, set[str]] = {}
    for name, account in accounts.items():
        try:
            for secret in account.webhook_secrets():
                found.setdefault(secret, set()).add(name)
        except ConfigurationError as error:
            # Who has set nothing gets no webhooks for that account, and misses none.
            level = logging.DEBUG if account.webhook_secret == _USUAL else logging.WARNING
            logger.log(level, "account %s: %s", name, error, extra={"action": "webhook"})
    return found


_USUAL = Account.model_fields["webhook_secret"].default


def _signers(
    secrets: Mapping[str, Iterable[str]], body: bytes, headers: Mapping[str, str]
) -> set[str]:
    """The accounts whose secret has signed it; none where it is forged or stale."""
    accounts: set[str] = set()
    why = ""
    for secret, names in secrets.items():
        try:
            _verifier.verify_signature(body, headers, secret=secret)
        except openai.InvalidWebhookSignatureError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 whatever it is, nothing is verified: a header that is not ASCII is a TypeError
            why = type(error).__name__
        else:
            accounts.update(names)
    if not accounts:
        _refuse("refused", why)
    return accounts


# The SDK has it on a client. This one calls nobody, so it needs no key; it is made here, because
# that takes too long for the first webhook to wait for it.
_verifier = openai.OpenAI(api_key="none", base_url="http://127.0.0.1/").webhooks


# What it says


def _event(body: bytes) -> tuple[str, str] | None:
    """Its type and the id of what it is about; None where it is no event at all."""
    try:
        event = json.loads(body)
        kind, about = event["type"], event["data"]["id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return (kind, about) if isinstance(kind, str) and isinstance(about, str) else None


def _tell(app: Any, provider_id: str, accounts: set[str], webhook_id: str) -> Word:
    if not _PROVIDER_ID.fullmatch(provider_id):
        return "unknown"
    with hurried(_HURRY):
        journal = journal_of(app)
    try:
        batch_id = journal.webhooks.of_provider(provider_id)
        batch = None if batch_id is None else journal.batches.get(batch_id)
    except BatchqError:
        return _refuse("unknown", "what the journal holds of its batch is damaged")
    if batch is None or batch.lane.account not in accounts:
        return "unknown"
    told = journal.webhooks.tell(batch, webhook_id)
    logger.info(
        "a webhook says that batch %s is over: %s",
        *(batch.id, told.word),
        extra={"action": "webhook", "batch": batch.id, "lane": batch.lane.name},
    )
    if told.word == "WOKEN":
        _messenger.send(app, Next("poll", (batch.id, told.chain)))
    return _SAID[told.word]


_SAID: Mapping[str, Word] = {
    "WOKEN": "woken",
    "TOLD": "woken",
    "OVER": "over",
    "REPEATED": "repeated",
    "DEAD": "ignored",
    "GONE": "unknown",
}


# The message that wakes the poll


class _Messenger:
    """Sends messages from a thread of its own: a broker that hangs holds up no answer.

    A message that is not sent, or lost with its process, does no harm: the journal says that the
    poll is due, and rescue wakes it.
    """

    _MOST = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: queue.Queue[tuple[Any, Next]] = queue.Queue(self._MOST)
        self._runs_in = 0

    def send(self, app: Any, step: Next) -> None:
        with self._lock:
            # A thread does not come along over a fork, and what waited there is sent there.
            if self._runs_in != os.getpid():
                self._runs_in = os.getpid()
                self._waiting = queue.Queue(self._MOST)
                work = threading.Thread(
                    target=self._work, args=(self._waiting,), name="batchq.webhook", daemon=True
                )
                work.start()
        try:
            self._waiting.put_nowait((app, step))
        except queue.Full:
            logger.warning(
                "too many webhooks wait for the broker: this one wakes no poll, and rescue does",
                extra={"action": "webhook"},
            )

    @staticmethod
    def _work(waiting: queue.Queue[tuple[Any, Next]]) -> None:
        while True:
            app, step = waiting.get()
            try:
                wake(app, step)
            except Exception as error:  # noqa: BLE001 each broker has its own errors
                kind = type(error).__name__
                logger.warning(
                    "the poll that a webhook asked for could not be sent (%s); rescue sends it",
                    kind,
                    extra={"action": "webhook", "batch": step.args[0]},
                )
            waiting.task_done()


_messenger = _Messenger()
