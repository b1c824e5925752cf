"""What the journal would know of a task, in a dict of the test's process."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from batchq.journal import Claim, Entry
from batchq.prompt import Outcome, Prompt

__all__ = ["Known"]


@dataclass(slots=True)
class Known:
    """One task: its calls with what came back, and its steps."""

    next_number: int = 0
    running: bool = False
    entries: list[Entry] = field(default_factory=list[Entry])
    steps: dict[str, str] = field(default_factory=dict[str, str])
    read: frozenset[int] = frozenset()
    bodies: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def note_live(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.next_number = entry.number + 1

    def note_step(self, name: str, value: str) -> None:
        self.steps[name] = value

    def forget(self, numbers: Collection[int]) -> None:
        self.entries = [entry for entry in self.entries if entry.number not in numbers]

    def note(self, prompt: Prompt, outcome: Outcome) -> None:
        self.bodies[prompt.number] = prompt.body
        self.entries.append(
            Entry(
                number=prompt.number,
                endpoint=prompt.lane.endpoint,
                model=prompt.lane.model,
                fingerprint=prompt.fingerprint,
                round=prompt.round,
                outcome=outcome,
                site=prompt.site,
                account=prompt.lane.account,
            )
        )

    def claim(self) -> Claim:
        return Claim(
            word="CLAIMED",
            entries=tuple(self.entries),
            steps=dict(self.steps),
            next_number=self.next_number,
            read=self.read,
        )
