"""A bench for each module, on the servers of its pytest-xdist worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.harness import Stack

if TYPE_CHECKING:
    from tests.faults.bench import Bench


@pytest.fixture(scope="module")
def bench(shared_stack: Stack) -> Iterator[Bench]:
    # Here, so that only the tests that need this app import it.
    from tests.faults.bench import Bench

    bench = Bench(shared_stack.server, shared_stack.emulator, shared_stack.directory)
    assert shared_stack.lasting is not None
    shared_stack.lasting.append(bench.nursery)
    yield bench
    bench.stop()
