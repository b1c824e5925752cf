from __future__ import annotations

import pytest
from celery import chord

from tests.fundamentals.tasks import ask, describe, join
from tests.harness import Stack


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
def test_chords_chains_and_links_wait_as_they_do_for_any_task(stack: Stack) -> None:
    """The canvas is Celery's own: the last member that is answered starts the body."""
    things = ["a red door", "a green hat", "a white horse"]
    result = chord([describe.s(thing) for thing in things], join.s()).apply_async()
    assert result.get(timeout=30).splitlines() == [ask(f"Describe: {each}") for each in things]
