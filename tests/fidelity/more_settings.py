"""Redis, with the settings changed that change how messages and results travel."""

from __future__ import annotations

from tests.fidelity.environments import OTHER_SETTINGS
from tests.fidelity.same import test_it_is_as_without_batchq

ENVIRONMENT = OTHER_SETTINGS

__all__ = ["test_it_is_as_without_batchq"]
