"""What a test's tasks have asked, and what can be asserted of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from batchq.prompt import custom_id

__all__ = ["Asked", "Request", "shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question, as the function that answers it gets it.

    ``body`` is what the line of the batch would hold. ``round`` counts the runs of the task's body
    from 0, ``attempt`` the batches the question has been in from 1. A ``live`` call has no line,
    no number and no account; ``task`` is empty where no task made it.
    """

    endpoint: str
    model: str
    body: dict[str, Any] = field(repr=False)
    task: str = ""
    task_id: str = ""
    number: int = -1
    round: int = 0
    attempt: int = 1
    account: str = ""
    label: str = ""
    live: bool = False

    @property
    def custom_id(self) -> str:
        """The id of its line; empty for a live call."""
        return "" if self.live else custom_id(self.task_id, self.number)

    @property
    def text(self) -> str:
        """All that was said in it: messages, input, instructions, prompt; no schema, no tool."""
        said = (self.body.get(name) for name in ("instructions", "messages", "input", "prompt"))
        return "\n".join(text for part in said for text in _strings(part))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        for item in items:
            yield from _strings(item)
    elif isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            if name not in {"role", "type"}:  # The API's own words.
                yield from _strings(item)


@dataclass(slots=True)
class Asked:
    """What was asked so far, in order: what a test looks at when its tasks have run."""

    requests: list[Request] = field(default_factory=list[Request])

    @property
    def prompts(self) -> list[Request]:
        """The questions that would have gone to a batch, each once."""
        return [request for request in self.requests if not request.live and request.attempt == 1]

    @property
    def live(self) -> list[Request]:
        """The calls that would have gone to the live API, at the live price."""
        return [request for request in self.requests if request.live]

    @property
    def lines(self) -> int:
        """How many lines of batches there would have been: what is asked again counts again."""
        return len(self.requests) - len(self.live)

    @property
    def rounds(self) -> int:
        """How many batches, one after the other, the task that asked the longest waits for."""
        found: defaultdict[str, set[int]] = defaultdict(set)
        for request in self.prompts:
            found[request.task_id].add(request.round)
        return max(map(len, found.values()), default=0)

    def assert_asked(
        self,
        *,
        task: Any = None,
        endpoint: str | None = None,
        model: str | None = None,
        contains: str | None = None,
        times: int | None = None,
    ) -> list[Request]:
        """The prompts that are so: at least one of them, or exactly ``times``.

        ``task`` is a task or its name; an ``endpoint`` may leave its beginning out (``responses``).
        Raises AssertionError, which lists what was asked.
        """
        name = getattr(task, "name", task)
        found = [
            request
            for request in self.prompts
            if name in {None, request.task}
            and model in {None, request.model}
            and (endpoint is None or f"/{request.endpoint}".endswith(f"/{endpoint}"))
            and (contains is None or contains in request.text)
        ]
        if len(found) != times if times is not None else not found:
            given = {"task": name, "endpoint": endpoint, "model": model, "contains": contains}
            wanted = {key: value for key, value in given.items() if value is not None}
            often = "at least once" if times is None else f"{times} times"
            raise AssertionError(
                f"{wanted or 'a prompt'} was to be asked {often}, and was asked {len(found)} "
                f"times. {self}"
            )
        return found

    def assert_nothing_live(self) -> None:
        """Raises AssertionError where a call would have gone to the live API."""
        if self.live:
            raise AssertionError(f"{len(self.live)} calls would have gone live. {self}")

    def __str__(self) -> str:
        if not self.requests:
            return "Nothing was asked."
        return "Asked was:\n" + "\n".join(f"  {shown(request)}" for request in self.requests)


_LONG = 200


def shown(request: Request) -> str:
    """A request in a line, for people to recognize it."""
    text = request.text
    text = text if len(text) <= _LONG else f"{text[:_LONG]}…"
    where = request.custom_id or "live"
    return f"{request.task or 'a call'} [{where}] {request.endpoint} {request.model}: {text!r}"
