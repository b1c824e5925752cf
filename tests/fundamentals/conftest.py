from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.harness import Stack


@pytest.fixture(scope="package")
def stack(
    request: pytest.FixtureRequest,
    share_stack: Callable[[pytest.FixtureRequest], AbstractContextManager[Stack]],
) -> Iterator[Stack]:
    """One worker and one beat for the whole manual."""
    with share_stack(request) as stack:
        worker = stack.worker("tests.fundamentals.tasks", wait=False)
        stack.beat("tests.fundamentals.tasks")
        worker.wait_for_output(" ready.")
        yield stack
