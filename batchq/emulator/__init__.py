"""A strict OpenAI Batch API on a socket, with every fault on demand."""

from batchq.emulator.process import Emulator, running

__all__ = ["Emulator", "running"]
