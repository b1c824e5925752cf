"""How a delivery ends whose task waits."""

from __future__ import annotations

from typing import NoReturn

from celery.exceptions import Ignore
from celery.states import REVOKED

from batchq.common.seams.ends import describe_shortly
from batchq.common.seams.results import rank_state

__all__ = ["BATCHED", "Parked", "describe_parked_shortly", "end_here"]

BATCHED = "BATCHED"
"""The Celery state of a task whose prompts wait for their answers."""

# In Flower's process too, which imports the app.
rank_state(BATCHED, after=REVOKED)


class Parked(Ignore):
    """This delivery ends without a result; another one brings it, or has brought it."""


def end_here(word: str) -> NoReturn:
    """Raise Parked, from a frame with nothing in it: that is all that Celery describes.

    It carries the journal's ``word`` on the capture, for the worker's main process.
    """
    raise Parked(word) from None


def describe_parked_shortly() -> None:
    """Spare each capture the description of an end that is no error."""
    describe_shortly(Parked)
