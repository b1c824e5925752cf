"""Whether a body asks the same when it runs again: without that, no answer finds its question."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from batchq.capture.difference import differences
from batchq.capture.run import Run
from batchq.prompt import Prompt
from batchq.testing.failures import Failure
from batchq.testing.inline import current_rounds

__all__ = ["assert_repeatable"]


class _Changed(Failure):
    """Ends the task: its requests change, and their answers would never be theirs."""


def assert_repeatable(task: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Run a batched task with each of its rounds twice; returns what the task returns.

    Inside ``with answers(…):``. Both runs of a round know the same answers, so they have to ask the
    same. Raises AssertionError where they do not, and says which keys of a request's body changed,
    from what to what: a time, a random id, the order of a set, a memory of the body's own.
    """
    rounds = current_rounds()
    if rounds is None:
        raise RuntimeError(
            "assert_repeatable stands inside `with batchq.testing.answers(...):`, for without "
            "answers a body comes no further than to its first question"
        )
    rounds.compare, before = _compare, rounds.compare
    try:
        return task.apply(args, kwargs).get()
    except _Changed as changed:
        raise AssertionError(str(changed)) from None
    finally:
        rounds.compare = before


def _compare(run: Run, again: Run) -> None:
    first, second = _without(run.asked, again.asked), _without(again.asked, run.asked)
    if first or second:
        lines = "\n".join(f"  {line}" for line in _told(first, second))
        raise _Changed(
            f"task {run.task_name} asks something else when its body runs again, so that an answer "
            f"would not find its question (round {run.round}):\n{lines}"
        )


def _without(prompts: list[Prompt], others: list[Prompt]) -> list[Prompt]:
    """Those to which none of the others is equal."""
    left = [other.fingerprint for other in others]
    found: list[Prompt] = []
    for prompt in prompts:
        if prompt.fingerprint in left:
            left.remove(prompt.fingerprint)
        else:
            found.append(prompt)
    return found


def _told(first: list[Prompt], second: list[Prompt]) -> Iterator[str]:
    """Calls are set beside each other by their number, as far as both runs have it."""
    then = {prompt.number: prompt for prompt in second}
    for prompt in first:
        other = then.pop(prompt.number, None)
        if other is None:
            yield f"call {prompt.number} ({_where(prompt)}) is not made the second time"
        else:
            yield from _between(prompt, other)
    for prompt in then.values():
        yield f"call {prompt.number} ({_where(prompt)}) is made the second time only"


def _between(one: Prompt, other: Prompt) -> Iterator[str]:
    if _where(one) != _where(other):
        yield f"call {one.number} goes to {_where(one)}, then to {_where(other)}"
    for key, before, after in differences(json.loads(one.body), json.loads(other.body)):
        yield f"call {one.number}, {key}: {_at(before, after)}, then {_at(after, before)}"


def _where(prompt: Prompt) -> str:
    return f"{prompt.lane.model} at {prompt.lane.endpoint}"


_BEFORE, _LONG = 20, 60


def _at(value: Any, other: Any) -> str:
    """A value, cut to where it begins to differ from another."""
    text, beside = _text(value), _text(other)
    pairs = enumerate(zip(text, beside, strict=False))
    same = next((at for at, (a, b) in pairs if a != b), min(len(text), len(beside)))
    start = max(0, same - _BEFORE)
    part = text[start : start + _LONG]
    return repr(("…" if start else "") + part + ("…" if start + _LONG < len(text) else ""))


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) else json.dumps(value)
