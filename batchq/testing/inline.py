"""`answers`: the tasks of a test run here and now, and what they ask is answered by the test."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from celery import current_app, signals

import batchq.task
from batchq.capture.http import install_hook
from batchq.common.seams.tasks import active_apps
from batchq.settings.config import behind
from batchq.testing.asked import Asked
from batchq.testing.replies import Rules, answerer
from batchq.testing.rounds import Rounds
from batchq.testing.wire import answered

__all__ = ["answers", "begin", "current_rounds"]

_current: list[Rounds] = []


def current_rounds() -> Rounds | None:
    """Those of the innermost `answers` around this."""
    return _current[-1] if _current else None


@contextmanager
def answers(rules: Rules, /, *, most_rounds: int = 25) -> Generator[Asked]:
    """Within it, tasks run at once and in this process, and what they ask is answered by ``rules``.

    No server, no Redis, no worker. ``delay``, ``apply_async``, ``apply`` and Celery's canvas run
    eagerly, whatever ``task_always_eager`` says, on every app that there is by then. Each body of a
    batched task runs as often as in production: it asks, is answered, and runs again from the top.
    A plain call ``task(…)``, a call inside ``with batchq.live():`` and one with the header
    ``batchq: live`` are answered as well; they count as live. Nothing goes to a model's API.

    ``rules`` are a function of a `Request`, a table, or one answer for all. In a table a key is a
    text of the request, a compiled pattern, or a function that says yes; the first that fits gives
    the answer, which may be a function itself. An answer is

    - a str, or a pydantic model (its JSON): what the model says;
    - a list of floats, or one for each text: embeddings; True or False: a moderation;
    - `tool_call`, or a list of them;
    - a dict, or an object of the SDK's: the whole body;
    - `error(…)`, `expired()`, or an exception of the SDK's;
    - None: there is no answer. The test fails with `Unanswered`.

    A body that asks something new in each of ``most_rounds`` rounds fails the test with `Endless`.
    Gives what was asked.
    """
    rounds = Rounds(answerer(rules), most_rounds)
    with ExitStack() as stack:
        begin(rounds, stack)
        _current.append(rounds)
        stack.callback(_current.pop)
        yield rounds.asked
    rounds.raise_failure()


def begin(rounds: Rounds, stack: ExitStack) -> None:
    """Let these rounds run all eager calls, and every call eager, until the stack is closed."""
    install_hook()
    _key_for_clients(stack)
    _eagerly(stack)
    _set(stack, batchq.task, run_eager=rounds.run_body)
    signals.task_postrun.connect(rounds.settle, weak=False)
    stack.callback(signals.task_postrun.disconnect, rounds.settle)
    stack.enter_context(answered(rounds.reply_to))


def _eagerly(stack: ExitStack) -> None:
    for app in {behind(current_app), *active_apps()}:
        _set(stack, app.conf, task_always_eager=True)


def _key_for_clients(stack: ExitStack) -> None:
    """The SDK makes no client without a key, and a test has none."""
    before = os.environ.get("OPENAI_API_KEY")
    if not before:
        os.environ["OPENAI_API_KEY"] = "sk-batchq-testing"
        stack.callback(_restore_key, before)


def _restore_key(before: str | None) -> None:
    del os.environ["OPENAI_API_KEY"]
    if before is not None:
        os.environ["OPENAI_API_KEY"] = before


def _set(stack: ExitStack, target: Any, **values: Any) -> None:
    for name, value in values.items():
        stack.callback(setattr, target, name, getattr(target, name))
        setattr(target, name, value)
