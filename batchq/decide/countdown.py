"""For how long a message of Batchq's own may be held."""

from datetime import timedelta

__all__ = ["LONGEST_COUNTDOWN"]

LONGEST_COUNTDOWN = timedelta(seconds=30)
"""A Redis broker delivers a message twice that is held longer than its visibility timeout, so a
step that is due later than this is woken early, and only re-arms itself."""
