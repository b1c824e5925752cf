"""Fixtures of `batchq.testing`, for pytest.

pytest imports this module wherever Batchq is installed, at each of its starts. So it imports
nothing but pytest, and the rest when a test asks for one of its fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from batchq.emulator import Emulator
    from batchq.testing import Asked, Batches


@pytest.fixture
def batchq_answers(request: pytest.FixtureRequest) -> Iterator[Callable[..., Asked]]:
    """`batchq.testing.answers`, from when it is called to the end of the test.

    ``asked = batchq_answers({"refund": "yes"})``
    """
    from batchq.testing import answers

    stack = ExitStack()

    def begin(rules: Any, **options: Any) -> Asked:
        return stack.enter_context(answers(rules, **options))

    with _told_once(request, stack):
        yield begin


@pytest.fixture
def batchq_manual(request: pytest.FixtureRequest) -> Iterator[Batches]:
    """`batchq.testing.manual` around the test."""
    from batchq.testing import manual

    with _told_once(request, stack := ExitStack()):
        yield stack.enter_context(manual())


@contextmanager
def _told_once(request: pytest.FixtureRequest, stack: ExitStack) -> Generator[None]:
    """Closes the stack. What fails then is not told again where it has failed the test itself."""
    from batchq.testing import Failure

    failed = request.session.testsfailed
    try:
        with stack:
            yield
    except Failure:
        if request.session.testsfailed == failed:
            raise


@pytest.fixture(scope="session")
def batchq_emulator_process() -> Iterator[Emulator]:
    """One emulator for all tests of this process; `batchq_emulator` is for a test."""
    from batchq.emulator import running

    with running() as emulator:
        yield emulator


@pytest.fixture
def batchq_emulator(batchq_emulator_process: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An emulator of the Batch API, as new, at which the SDK's clients find it by themselves.

    A client that is made at import time was made before it, and goes elsewhere.
    """
    batchq_emulator_process.reset()
    monkeypatch.setenv("OPENAI_BASE_URL", batchq_emulator_process.url)
    monkeypatch.setenv("OPENAI_API_KEY", batchq_emulator_process.api_key)
    return batchq_emulator_process
