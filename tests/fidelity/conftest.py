"""One worker for each environment; what its tests compare has been run before the first of them.

The imports are inside: this file is read before OPENAI_BASE_URL and REDIS_URL are the tests' own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("tests.fidelity.same")

if TYPE_CHECKING:
    from tests.conftest import Share
    from tests.fidelity.environments import Environment
    from tests.fidelity.matrix import Matrix


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    from tests.fidelity.behaviours import BEHAVIOURS

    if "behaviour" in metafunc.fixturenames:
        environment: Environment = metafunc.module.ENVIRONMENT
        names = [name for name, each in BEHAVIOURS.items() if environment.takes(each)]
        metafunc.parametrize("behaviour", names)


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest, share_stack: Share) -> Iterator[Matrix]:
    """Every behaviour, run in the ENVIRONMENT of the test's module."""
    from tests.fidelity.environments import running
    from tests.fidelity.matrix import Matrix

    environment: Environment = request.module.ENVIRONMENT
    if environment.missing:
        pytest.skip(environment.missing)
    with share_stack(request) as stack, running(environment, stack) as app:
        matrix = Matrix(environment, stack, app)
        matrix.run()
        yield matrix
