from __future__ import annotations

from tests.fundamentals.tasks import ask, draft_and_improve
from tests.harness import Stack


def test_the_body_runs_again_from_the_top_after_each_answer(stack: Stack) -> None:
    """What it asked before is answered at once, from the journal, and not paid for again."""
    result = draft_and_improve.delay("a poem about queues")
    expected = ask(f"Improve: {ask('Draft: a poem about queues')}")
    assert result.get(timeout=30) == expected
    assert stack.redis.get("draft_and_improve ran") == "3"
    lines = stack.emulator.ledger()["lines"]
    assert [lines[f"{result.id}-{number}"]["ok"] for number in (0, 1)] == [1, 1]
