"""The Batches pages in Flower: lanes, batches, tasks, and what an operator does to them.

`celery -A app flower` has them where the app was given to `batchq.install`. Otherwise a
``flowerconfig.py`` asks for them:

    import batchq.flower
    batchq.flower.install()
"""

from __future__ import annotations

import sys

__all__ = ["install"]


def install() -> None:
    """Put the pages into the Flower of this process, before it starts; once is enough.

    What Flower is started with holds for them too: its authentication, ``--url_prefix``,
    ``--read_only``.
    """
    from batchq.flower import seams
    from batchq.flower.urls import pages

    seams.add(pages())


def is_starting() -> bool:
    """True in a process that is about to be Flower."""
    # Every `celery ...` imports Flower's command where Flower is installed.
    return "flower.urls" in sys.modules and "flower" in sys.argv[1:]
