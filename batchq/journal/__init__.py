"""The journal in Redis: what every task asked, what came back, and where each prompt is now.

The one package that knows Redis keys and calls Lua. Each transition is one script; all keys share
one hash tag, so they live in one slot of a cluster. The only clock is Redis's own.
"""

from __future__ import annotations

from batchq.journal.connected import hurried, journal_of, ping
from batchq.journal.journal import Journal
from batchq.journal.records import (
    KILLS,
    TURNAROUNDS,
    AccountPause,
    BatchRecord,
    CallRecord,
    Claim,
    Entry,
    Epoch,
    LaneRecord,
    LongRun,
    OwnError,
    PromptRecord,
    Receipt,
    Revocation,
    Sample,
    Search,
    Sums,
    TaskRecord,
    Waited,
    Walk,
    error_code,
)
from batchq.journal.replies import CHUNK, chunks, is_full, is_rubbish
from batchq.journal.webhooks import Telling

__all__ = [
    "CHUNK",
    "KILLS",
    "TURNAROUNDS",
    "AccountPause",
    "BatchRecord",
    "CallRecord",
    "Claim",
    "Entry",
    "Epoch",
    "Journal",
    "LaneRecord",
    "LongRun",
    "OwnError",
    "PromptRecord",
    "Receipt",
    "Revocation",
    "Sample",
    "Search",
    "Sums",
    "TaskRecord",
    "Telling",
    "Waited",
    "Walk",
    "chunks",
    "error_code",
    "hurried",
    "is_full",
    "is_rubbish",
    "journal_of",
    "ping",
]
