"""What becomes of a call: its outcome, a question, a refusal, or nothing at all."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING

from batchq.capture.http.calls import Call, asks_a_model, json_object
from batchq.capture.http.questions import key_of, live_question_of, question_of
from batchq.capture.http.twins import as_openai_error
from batchq.capture.run import Question, Run
from batchq.errors import BatchqError, NotBatchable, PromptTooLarge, UnknownAccount

if TYPE_CHECKING:
    from batchq.prompt import Outcome
    from batchq.settings.record import Settings

__all__ = ["ask", "recalled", "refuse", "tell_once"]

logger = logging.getLogger("batchq.capture")


def ask(call: Call, content: bytes) -> Outcome | None:
    """The recorded outcome of a call; None where it goes out as it is.

    Where there is no outcome yet, it is asked, and the body ends.
    """
    try:
        if call.is_ours:
            question = question_of(call, content)
            _tell_other_key(call, question.account)
            _tell_tier(call, content)
            return call.run.ask(question)
        if asks_a_model(call, content):
            _stays_live(call)
    except BatchqError as error:
        raise _told(call.run, error) from None
    return None


def _tell_other_key(call: Call, account: str) -> None:
    """Say, once, that a call's answer is billed to another key than its own."""
    if call.run.settings.accounts.has_other_key(account, key_of(call.headers)):
        tell_once(
            call.run,
            f"another key than that of {account}",
            f"{call.words} in task {call.run.task_name} is made with another key than account "
            f"{account!r} has now, which is the only one with its base URL: it is batched, and "
            "billed, under that account. Where the key is another team's, add an account with that "
            "key to batchq_accounts; where it was rotated, all is well",
        )


def _tell_tier(call: Call, content: bytes) -> None:
    """Say, once, that a tier of the live API means nothing in a batch."""
    if b'"service_tier"' not in content:
        return
    tier = (json_object(content) or {}).get("service_tier")
    if tier not in {None, "auto", "default"}:
        tell_once(
            call.run,
            "service_tier",
            f"{call.words} in task {call.run.task_name} asks for service_tier={tier!r}, which is "
            "left out: a batch has a tier and a price of its own",
        )


def recalled(
    call: Call, content: bytes, *, streams: bool
) -> tuple[Question | None, Outcome | None]:
    """A live call as it is journaled, and what it brought before; None where it cannot be written
    down, or has not been made.
    """
    question = None if streams else live_question_of(call, content)
    return question, None if question is None else call.run.recall(question)


def refuse(call: Call, reason: str) -> None:
    """Refuse a call, in words."""
    raise _told(call.run, NotBatchable(call.run.task_name, call.words, reason)) from None


def _stays_live(call: Call) -> None:
    """A model is asked in a way that has no batch: never in silence, at an account not at all."""
    if call.at_account:
        refuse(call, "this endpoint has no batch")
    tell_once(
        call.run,
        "another host",
        f"{call.method} {call.url.partition('?')[0]} in task {call.run.task_name} looks like a "
        "call of a model, and goes out live in each run of the body: no account has that base URL. "
        "Add one to batchq_accounts if its provider has a Batch API, or make the call inside `with "
        "batchq.live():`, which journals it.",
    )


_REFUSALS = (NotBatchable, PromptTooLarge, UnknownAccount)


def _told(run: Run, error: BatchqError) -> BatchqError:
    """The error to raise at a call. It is logged too: libraries make something else of it."""
    if isinstance(error, _REFUSALS):
        tell_once(run, getattr(error, "reason", ""), str(error))
    return as_openai_error(error)


def tell_once(run: Run, what: str, words: str) -> None:
    """Log ``words`` as a warning, once in this process for each task name and ``what``."""
    said = _said_of(run.settings)
    if (run.task_name, what) not in said:
        said.add((run.task_name, what))
        logger.warning("%s", words, extra={"action": "capture", "task_id": run.task_id})


_said: dict[int, set[tuple[str, str]]] = {}
"""What was told, by the identity of an app's settings."""


def _said_of(settings: Settings) -> set[tuple[str, str]]:
    if id(settings) not in _said:
        weakref.finalize(settings, _said.pop, id(settings))
    return _said.setdefault(id(settings), set())
