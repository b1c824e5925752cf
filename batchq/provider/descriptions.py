"""What a provider says, as frozen records: a batch, why it failed, a row of its result files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

STATUSES = (
    *("validating", "in_progress", "finalizing", "completed"),
    *("failed", "expired", "cancelling", "cancelled"),
)
"""What a batch may be at a provider, as far as is known."""
BATCH_KEY = "batchq"  # the metadata under which a batch carries its intent


@dataclass(frozen=True)
class BatchErrorLine:
    """One reason why a whole batch failed; `line` counts from 1, where the provider says it."""

    code: str | None
    message: str
    param: str | None
    line: int | None


@dataclass(frozen=True)
class ProviderBatch:
    """A batch as the provider describes it, with what providers write differently made equal.

    `status` is lower-case and may be a word nobody has seen before; the counts are only
    reliable once it is ``completed``.
    """

    id: str
    status: str
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    created_at: datetime | None = None
    expires_at: datetime | None = None
    errors: tuple[BatchErrorLine, ...] = ()
    usage: Mapping[str, Any] | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    object: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """All the provider said, without the sentences of its errors: those may repeat a prompt."""

    @property
    def batch_key(self) -> str | None:
        """What it was created under; None where that was not by Batchq."""
        return self.metadata.get(BATCH_KEY)


@dataclass(frozen=True)
class Row:
    """One line of an output or error file.

    `status_code` is None where the prompt was not run, and `error_code` may then say why.
    An HTTP error of the prompt itself is in `body`, as the SDK would have received it.
    """

    custom_id: str
    status_code: int | None
    body: Any
    request_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_type: str | None = None
    raw: bytes | None = field(default=None, repr=False, compare=False)
    """The JSON of `body` as it stands in the file, where that is an object and was found."""
