from __future__ import annotations

import pytest

from tests.harness import Stack


@pytest.fixture(scope="package")
def stack(package_stack: Stack) -> Stack:
    """One worker and one beat for the whole manual."""
    worker = package_stack.worker("tests.fundamentals.tasks", wait=False)
    package_stack.beat("tests.fundamentals.tasks")
    worker.wait_for_output(" ready.")
    return package_stack
