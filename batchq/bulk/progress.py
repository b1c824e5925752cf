"""One line on stderr that says how far it is."""

from __future__ import annotations

import sys
import time
from operator import length_hint
from typing import Any

__all__ = ["Progress"]

_EVERY = 0.2
_WIDTH = 20


class Progress:
    """Shown where somebody looks, or where they ask for it."""

    def __init__(self, rows: Any, *, shown: bool | None) -> None:
        self._stream = sys.stderr
        self._shown = self._stream.isatty() if shown is None else shown
        self._total = length_hint(rows, 0)
        self._began = time.monotonic()
        self._next = 0.0

    def show(self, enqueued: Any, in_broker: int, *, over: bool = False) -> None:
        now = time.monotonic()
        if not self._shown or (now < self._next and not over):
            return
        self._next = now + _EVERY
        rate = enqueued.sent / max(now - self._began, 0.001)
        line = f"{self._bar(len(enqueued))}{enqueued.sent:,} sent, {rate:,.0f}/s"
        for number, word in ((len(enqueued) - enqueued.sent, "known"), (in_broker, "in the queue")):
            line += f", {number:,} {word}" if number else ""
        # What was longer before is wiped to its end.
        self._stream.write(f"\r{line}\x1b[K" + ("\n" if over else ""))
        self._stream.flush()

    def _bar(self, rows: int) -> str:
        if not self._total:
            return ""
        share = min(1.0, rows / self._total)
        return f"{'#' * round(_WIDTH * share):.<{_WIDTH}} {share:4.0%}  "
