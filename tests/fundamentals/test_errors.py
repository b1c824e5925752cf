from __future__ import annotations

from tests.fundamentals.tasks import too_hot
from tests.harness import Stack


def test_an_error_of_the_api_is_the_exception_of_the_sdk(stack: Stack) -> None:
    """The body catches what it always caught; its neighbours in the batch are answered."""
    assert too_hot.delay("a stove").get(timeout=30) == "refused: temperature"
