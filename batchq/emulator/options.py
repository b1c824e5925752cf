"""How an emulator is set up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batchq.emulator.shapes import JsonObject

DAY = 86_400.0


@dataclass(frozen=True)
class Options:
    """Durations are seconds of the emulator's clock."""

    host: str = "127.0.0.1"
    port: int = 8642
    data: Path | None = None
    api_keys: tuple[str, ...] = ()
    key_per_account: bool = False
    models: frozenset[str] | None = None
    window: float = DAY
    validate_seconds: float = 0.5
    run_seconds: float = 2.0
    finalize_seconds: float = 0.5
    cancel_seconds: float = 0.5
    faults: Mapping[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    upstream: str | None = None
    upstream_key_env: str | None = None
    upstream_concurrency: int = 16
    token_limit: int | None = None
    batches_per_hour: int = 2000
    webhook_url: str | None = None
    webhook_secret_env: str = "OPENAI_WEBHOOK_SECRET"  # noqa: S105 where it is, and not what
    until_stdin_closes: bool = False
