"""Sleeping under libfaketime 0.9.10: it takes a shift off the monotonic clock that sleep() names.

With a clock set ahead every ``time.sleep`` then fails with EINVAL, and beat ends.
"""

from __future__ import annotations

import select
import time
from typing import SupportsFloat, SupportsIndex, cast


def _sleep(seconds: float | SupportsIndex, /) -> None:
    select.select([], [], [], float(cast("SupportsFloat", seconds)))


time.sleep = _sleep
