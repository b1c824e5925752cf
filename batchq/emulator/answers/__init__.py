"""What the emulator's models say: derived from the request alone, so always the same."""

from batchq.emulator.answers.endpoints import ENDPOINTS, answer

__all__ = ["ENDPOINTS", "answer"]
