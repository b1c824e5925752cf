from __future__ import annotations

from tests.fundamentals.tasks import save
from tests.harness import Stack


def test_a_task_that_fails_after_its_answer_gets_it_again_for_free(stack: Stack) -> None:
    """The database was down, and that says nothing about the answer."""
    result = save.delay("a letter", "OSError")
    assert result.get(timeout=30)
    assert [line for line in stack.emulator.ledger()["lines"] if line.startswith(result.id)] == [
        f"{result.id}-0"
    ]


def test_a_task_that_fails_because_of_its_answer_asks_anew(stack: Stack) -> None:
    """A ValueError says that the answer was bad; `ask_again_on=` changes what does."""
    result = save.delay("a bill", "ValueError")
    assert result.get(timeout=30)
    assert [line for line in stack.emulator.ledger()["lines"] if line.startswith(result.id)] == [
        f"{result.id}-0",
        f"{result.id}-1",
    ]
