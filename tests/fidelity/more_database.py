"""Redis as broker, a database for results: chords are polled for."""

from __future__ import annotations

from tests.fidelity.environments import DATABASE
from tests.fidelity.same import test_it_is_as_without_batchq

ENVIRONMENT = DATABASE

__all__ = ["test_it_is_as_without_batchq"]
