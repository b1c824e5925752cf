"""Redis as broker and for results, tasks in the worker's own thread."""

from __future__ import annotations

import pytest

from tests.fidelity.environments import REDIS
from tests.fidelity.same import test_it_is_as_without_batchq

pytestmark = pytest.mark.long

ENVIRONMENT = REDIS["solo"]

__all__ = ["test_it_is_as_without_batchq"]
