"""What an instance speaks of, and by what its choices are made."""

from dataclasses import dataclass

from batchq.emulator.answers.text import number_from


@dataclass(frozen=True)
class About:
    """The words of a prompt, and a seed: of the same two the same choices come."""

    text: str
    seed: str
    attempt: int
    """From the second on, what the prompt says is not tried again."""

    def pick(self, path: str, limit: int) -> int:
        """A number from 0 to below ``limit`` for a place in the schema."""
        return number_from(f"{self.seed}{path}", limit)
