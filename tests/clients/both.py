"""A function of a client's user, run as it is and as a batched task, and compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchq import RequestChanged
from batchq.capture.parked import BATCHED
from tests.capture.bench import Bench

__all__ = ["Both", "Journey"]


_PATIENCE = 30
"""Batches, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """What became of a batched task: what it asked in batches, in how many rounds, and live."""

    result: Any
    prompts: int
    rounds: int
    live: int = 0


class Both:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.emulator = bench.emulator

    def same(self, body: Callable[..., Any], *args: Any, prompts: int, rounds: int) -> Any:
        """Batched, the function returns what it returns without Batchq, and nothing goes live."""
        before = self.live_calls()
        expected = _as_json(body(*args))
        assert self.live_calls() - before == prompts, "live, the function makes other calls"
        journey = self.journey(body, *args)
        assert journey == Journey(result=expected, prompts=prompts, rounds=rounds)
        return journey.result

    def journey(self, body: Callable[..., Any], *args: Any, **options: Any) -> Journey:
        """Run the function as a batched task, to its end."""
        live, lines, rounds = self.live_calls(), self._lines(), 0
        result = self.bench.send(self.bench.task(**options)(body), *args)
        self.bench.deliver()
        for _ in range(_PATIENCE):
            if result.state != BATCHED:
                break
            # Nobody is delivered where all is to be asked again, in another batch.
            self.bench.answer()
            rounds += self.bench.deliver()
        assert result.state == "SUCCESS", f"{result.state}: {result.result!r}\n{result.traceback}"
        lines, live = self._lines() - lines, self.live_calls() - live
        return Journey(result=_as_json(result.result), prompts=lines, rounds=rounds, live=live)

    def no_wrong_answer(
        self, cached: Callable[[str], str], *, uncached: Callable[[str], str]
    ) -> None:
        """Tasks that share a question by a cache get their own answers, or an error."""
        texts = {name: ["the common question", f"the question of {name}"] for name in "abc"}
        right = {name: [uncached(text) for text in asked] for name, asked in texts.items()}

        def body(name: str) -> list[str]:
            return [cached(text) for text in texts[name]]

        task = self.bench.task(body)
        results = {name: self.bench.send(task, name) for name in texts}
        self.bench.deliver()
        for _ in range(_PATIENCE):
            if all(result.state != BATCHED for result in results.values()):
                break
            self.bench.answer()
            self.bench.deliver()
        for name, result in results.items():
            changed = result.state == "FAILURE" and isinstance(result.result, RequestChanged)
            assert changed or result.result == right[name], f"{result.state}: {result.result!r}"

    def live_calls(self) -> int:
        return int(self.emulator.ledger(summary=True)["live_calls"])

    def _lines(self) -> int:
        return int(self.emulator.ledger(summary=True)["lines_known"])


def _as_json(value: Any) -> Any:
    """As a result travels: tuples are lists."""
    return json.loads(json.dumps(value))
