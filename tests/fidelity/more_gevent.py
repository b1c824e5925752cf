"""Redis as broker and for results, tasks in greenlets."""

from __future__ import annotations

from tests.fidelity.environments import REDIS
from tests.fidelity.same import test_it_is_as_without_batchq

ENVIRONMENT = REDIS["gevent"]

__all__ = ["test_it_is_as_without_batchq"]
