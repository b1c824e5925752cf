"""The emulator's clock: the wall clock, and whatever it was told to skip."""

import asyncio
import time


class Clock:
    """Wall time plus an offset that only grows.

    Durations are real seconds; `advance` is how a test or a demo gets past them.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self._stirred = asyncio.Event()

    def now(self) -> float:
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += seconds
        self.stir()

    def stir(self) -> None:
        """Wake everyone who rests: something they wait for may have changed."""
        self._stirred.set()
        self._stirred = asyncio.Event()

    async def rest(self, until: float | None) -> None:
        """Wait for a moment, or (None) for anything to change. May return early: look again."""
        stirred = self._stirred
        remaining = None if until is None else max(0.0, until - self.now())
        try:
            async with asyncio.timeout(remaining):
                await stirred.wait()
        except TimeoutError:
            return


class Pace:
    """Keeps long work on the event loop from holding up everything else."""

    def __init__(self, slice_seconds: float = 0.01) -> None:
        self._slice = slice_seconds
        self._started = time.perf_counter()

    @property
    def spent(self) -> bool:
        return time.perf_counter() - self._started >= self._slice

    async def breathe(self) -> None:
        """Let other requests go first when this piece of work has had its share."""
        if self.spent:
            await asyncio.sleep(0)
            self._started = time.perf_counter()
