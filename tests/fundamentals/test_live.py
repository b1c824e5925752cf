from __future__ import annotations

from collections.abc import Iterator

import pytest

from batchq import ConfigurationError
from tests.fundamentals.tasks import ask, check_live, describe
from tests.harness import Stack


@pytest.fixture
def one_live_call(stack: Stack) -> Iterator[None]:
    before = stack.emulator.ledger(summary=True)
    yield
    after = stack.emulator.ledger(summary=True)
    assert after["live_calls"] - before["live_calls"] == 1
    assert after["lines_known"] == before["lines_known"]


@pytest.mark.usefixtures("one_live_call")
def test_called_as_a_function_a_task_calls_the_api_now() -> None:
    assert describe("a mirror")


@pytest.mark.usefixtures("one_live_call")
def test_a_header_sends_one_call_live_from_the_worker() -> None:
    assert describe.apply_async(("a mirror",), headers={"batchq": "live"}).get(timeout=30)


@pytest.mark.parametrize("word", ["lve", "Live", ""])
def test_a_header_that_is_misspelt_fails_at_once(word: str) -> None:
    """It was a call that waited for a batch, for up to a day, and said nothing."""
    result = describe.apply_async(("a mirror",), headers={"batchq": word})
    with pytest.raises(ConfigurationError, match=r'the header batchq = .*: accepted is "live"'):
        result.get(timeout=30)


def test_a_part_of_a_body_may_go_live(stack: Stack) -> None:
    """Its answer is journaled too: the second run of the body does not pay for it again."""
    before = stack.emulator.ledger(summary=True)["live_calls"]
    now, later = check_live.delay("You have won!").get(timeout=30)
    assert stack.emulator.ledger(summary=True)["live_calls"] - before == 1
    assert [now, later] == [ask("Is this spam? You have won!"), ask("Answer: You have won!")]
