"""How a delivery ends whose task waits."""

from __future__ import annotations

from celery.exceptions import Ignore
from celery.states import REVOKED

from batchq.common.seams.results import rank_state

__all__ = ["BATCHED", "Parked"]

BATCHED = "BATCHED"
"""The Celery state of a task whose prompts wait for their answers."""

# In Flower's process too, which imports the app.
rank_state(BATCHED, after=REVOKED)


class Parked(Ignore):
    """This delivery ends without a result; another one brings it, or has brought it."""
