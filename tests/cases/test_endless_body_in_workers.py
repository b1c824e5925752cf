"""A body that tries again for ever is ended with its process, and named.

It held its slot for 75 minutes, PENDING, and its tries were paid for.
"""

from __future__ import annotations

import pytest
from billiard.exceptions import WorkerLostError

from tests.apps import endless
from tests.harness import Stack


def test_it_is_ended_and_others_go_on(stack: Stack) -> None:
    worker = stack.worker("tests.apps.endless", concurrency=1)
    stack.beat("tests.apps.endless")
    stubborn, orderly = endless.stubborn.delay("again"), endless.orderly.delay("hello")
    with pytest.raises(WorkerLostError):
        stubborn.get(timeout=60)
    assert "hello" in orderly.get(timeout=60)
    output = worker.output()
    assert f"task {endless.stubborn.name} [{stubborn.id}] has asked the same question 10" in output
    assert "tests.apps.endless.ask, line" in output
    assert f"the process of task {endless.stubborn.name} [{stubborn.id}] is ended" in output
    # Nothing of it was sent, for it never came to an end.
    assert stack.emulator.ledger()["lines_known"] == 1
