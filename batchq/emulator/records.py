"""What the emulator keeps: files and batches."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from batchq.emulator.shapes import JsonObject

TERMINAL = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass
class StoredFile:
    """An uploaded file, or one the emulator wrote. Its bytes lie in the store's directory."""

    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: float
    expires_at: float
    owner: str = ""

    def view(self) -> JsonObject:
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.bytes,
            "created_at": int(self.created_at),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "expires_at": int(self.expires_at),
            "status_details": None,
        }

    def document(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def load(cls, document: JsonObject) -> Self:
        return cls(**document)


@dataclass
class Batch:
    """One batch job, with how far its lines have run.

    `ran`, `output_bytes` and `error_bytes` are saved together with the ledger: after a kill the
    part files are cut back to these sizes and the run goes on behind line `ran`.
    """

    id: str
    owner: str
    endpoint: str
    input_file_id: str
    created_at: float
    expires_at: float
    metadata: dict[str, str] | None = None
    output_expires_after: float | None = None
    azure: bool = False
    # The faults this batch was created under, by name, with their options.
    faults: dict[str, Any] = field(default_factory=dict[str, Any])
    fired: list[str] = field(default_factory=list[str])
    polls: int = 0

    status: str = "validating"
    model: str | None = None
    errors: list[JsonObject] = field(default_factory=list[JsonObject])
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None

    tokens: int = 0  # prompt tokens of all lines, known once validated
    lines: int = 0  # lines of the input file, known once validated
    total: int = 0
    completed: int = 0
    failed: int = 0
    ran: int = 0
    output_bytes: int = 0
    error_bytes: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    def document(self) -> JsonObject:
        # dict(vars()) and not asdict(): this is written many times a second during a run.
        return dict(vars(self))

    @classmethod
    def load(cls, document: JsonObject) -> Self:
        return cls(**document)
