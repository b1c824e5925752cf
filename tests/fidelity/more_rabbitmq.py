"""RabbitMQ as broker, Redis for results: the journal lives beside the results."""

from __future__ import annotations

from tests.fidelity.environments import RABBIT
from tests.fidelity.same import test_it_is_as_without_batchq

ENVIRONMENT = RABBIT

__all__ = ["test_it_is_as_without_batchq"]
